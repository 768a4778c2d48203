// What all kernels share. REAL is float or double; each is compiled into a module of its own.
//
// Every kernel works with any grid and, unless it says otherwise, any block: element-wise ones
// go through their elements in strides of the whole grid. Sums are taken in an order that depends
// on the grid alone, so that the same launch gives the same bits every time.

typedef REAL real;

#define ALL_LANES 0xffffffffu

// The elements of this thread among n.
#define FOR_EACH(i, n) \
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

// C++ overloads: the function of the right precision is chosen by the type.
__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }
__device__ __forceinline__ float logarithm_of_1_plus(float x) { return log1pf(x); }
__device__ __forceinline__ double logarithm_of_1_plus(double x) { return log1p(x); }
__device__ __forceinline__ float hyperbolic_tangent(float x) { return tanhf(x); }
__device__ __forceinline__ double hyperbolic_tangent(double x) { return tanh(x); }
__device__ __forceinline__ float root(float x) { return sqrtf(x); }
__device__ __forceinline__ double root(double x) { return sqrt(x); }
__device__ __forceinline__ float magnitude(float x) { return fabsf(x); }
__device__ __forceinline__ double magnitude(double x) { return fabs(x); }

// The sum over the 32 lanes of a warp, the same in each of them.
template <typename Number>
__device__ __forceinline__ Number warp_sum(Number x)
{
    for (int apart = 16; apart; apart /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, apart);
    return x;
}

// The sum over a block of whole warps, for thread 0. `room` holds one number a warp.
__device__ __forceinline__ real block_sum(real x, real* room)
{
    x = warp_sum(x);
    __syncthreads();  // the room may still be read from before
    if (threadIdx.x % 32 == 0)
        room[threadIdx.x / 32] = x;
    __syncthreads();
    real total = 0;
    if (threadIdx.x == 0)
        for (int warp = 0; warp < (int)blockDim.x / 32; warp++)
            total += room[warp];
    return total;
}

// The losses and the number right of a block's warps, added up: losses[block] and rights[block].
// Every lane of a warp has the same loss and right. `room` holds two numbers a warp.
__device__ __forceinline__ void store_losses(
    real loss, int right, real* room, real* losses, int* rights)
{
    int warps = blockDim.x / 32, warp = threadIdx.x / 32;
    if (threadIdx.x % 32 == 0) {
        room[warp] = loss;
        room[warps + warp] = right;  // few enough for a float to hold
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        real total = 0;
        int n_right = 0;
        for (int k = 0; k < warps; k++) {
            total += room[k];
            n_right += (int)room[warps + k];
        }
        losses[blockIdx.x] = total;
        rights[blockIdx.x] = n_right;
    }
}
