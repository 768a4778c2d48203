// What is around the matrix products of a layer: the bias and the activation after the one, the
// activation's gradient and the sum over the samples before the others.

#define IDENTITY 0
#define RELU 1
#define SIGMOID 2
#define TANH 3

__device__ __forceinline__ real activate(real z, int f)
{
    if (f == RELU)
        return z <= 0 ? (real)0 : z;  // NaN stays NaN
    if (f == SIGMOID)
        return 1 / (1 + exponential(-z));  // 0 where exp overflows, as it should be
    if (f == TANH)
        return hyperbolic_tangent(z);
    return z;
}

// dy/dz from y.
__device__ __forceinline__ real slope(real y, int f)
{
    if (f == RELU)
        return y > 0 ? (real)1 : (real)0;
    if (f == SIGMOID)
        return y * (1 - y);
    if (f == TANH)
        return 1 - y * y;
    return 1;
}

// y = f(z + b), written over z (m, n).
extern "C" __global__ void bias_activation(real* z, const real* b, int m, int n, int f)
{
    FOR_EACH(i, m * n)
        z[i] = activate(z[i] + b[i % n], f);
}

// dz = dy * f'(z), and the sums of its columns over the rows of this block. dz may be null: with
// the identity only the sums are wanted.
//
// Blocks are (32, h): block (i, j) has columns 32 i and on of rows j * rows and on, and writes its
// sums to sums[j] (n,). Shared: 32 h numbers.
extern "C" __global__ void activation_grad(
    const real* dy, const real* y, real* dz, real* sums, int m, int n, int rows, int f)
{
    extern __shared__ real shared[];
    int column = blockIdx.x * 32 + threadIdx.x;
    int first = blockIdx.y * rows, last = min(m, first + rows);
    real sum = 0;
    if (column < n)
        for (int row = first + threadIdx.y; row < last; row += blockDim.y) {
            int i = row * n + column;
            real d = dy[i] * slope(y[i], f);
            if (dz)
                dz[i] = d;
            sum += d;
        }
    shared[threadIdx.y * 32 + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < n) {
        real total = 0;
        for (int h = 0; h < (int)blockDim.y; h++)
            total += shared[h * 32 + threadIdx.x];
        sums[blockIdx.y * n + column] = total;
    }
}
