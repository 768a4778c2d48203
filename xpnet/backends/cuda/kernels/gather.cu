// out (m,) = elements of A (n,) from *start on; after its end it begins anew.
template <typename Value>
__device__ __forceinline__ void read_window(
    const Value* A, const int* start, Value* out, int m, int n)
{
    FOR_EACH(i, m)
        out[i] = A[(*start + i) % n];
}

extern "C" __global__ void window_ints(
    const int* A, const int* start, int* out, int m, int n)
{
    read_window(A, start, out, m, n);
}

extern "C" __global__ void window_reals(
    const real* A, const int* start, real* out, int m, int n)
{
    read_window(A, start, out, m, n);
}

// x = (row index[i] of X - shift) * scale, cast: the batch, from bytes or from real numbers.
//
// index has `count` elements; where `start` is not null the batch begins at its element *start,
// and after its end it begins anew. shift is (n,), or null for 0; scales is (n,), or null for
// `scale` everywhere. y gets the samples' labels, where `labels` is not null. Nothing that is read
// overlaps x, so that several elements are on their way at a time.
template <typename Source>
__device__ __forceinline__ void gather_rows(
    const Source* __restrict__ X, const int* index, const int* start, int count,
    const real* __restrict__ shift, const real* __restrict__ scales, real scale,
    const int* labels, real* __restrict__ x, int* y, int m, int n)
{
    int first = start ? *start : 0;
    for (int row = blockIdx.x * blockDim.y + threadIdx.y; row < m; row += gridDim.x * blockDim.y) {
        int sample = index[(first + row) % count];
        const Source* from = X + (long long)sample * n;
        #pragma unroll 4
        for (int column = threadIdx.x; column < n; column += blockDim.x) {
            real value = (real)from[column];
            if (shift)
                value -= shift[column];
            x[row * n + column] = value * (scales ? scales[column] : scale);
        }
        if (labels && threadIdx.x == 0)
            y[row] = labels[sample];
    }
}

extern "C" __global__ void gather_bytes(
    const unsigned char* __restrict__ X, const int* index, const int* start, int count,
    const real* __restrict__ shift, const real* __restrict__ scales, real scale,
    const int* labels, real* __restrict__ x, int* y, int m, int n)
{
    gather_rows(X, index, start, count, shift, scales, scale, labels, x, y, m, n);
}

extern "C" __global__ void gather_reals(
    const real* __restrict__ X, const int* index, const int* start, int count,
    const real* __restrict__ shift, const real* __restrict__ scales, real scale,
    const int* labels, real* __restrict__ x, int* y, int m, int n)
{
    gather_rows(X, index, start, count, shift, scales, scale, labels, x, y, m, n);
}
