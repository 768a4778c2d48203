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
// shift is (n,), or null for 0; scales is (n,), or null for `scale` everywhere.
template <typename Source>
__device__ __forceinline__ void gather_rows(
    const Source* X, const int* index, const real* shift, const real* scales, real scale,
    real* x, int m, int n)
{
    FOR_EACH(i, m * n) {
        int row = i / n, column = i % n;
        real value = (real)X[(long long)index[row] * n + column];
        if (shift)
            value -= shift[column];
        x[i] = value * (scales ? scales[column] : scale);
    }
}

extern "C" __global__ void gather_bytes(
    const unsigned char* X, const int* index, const real* shift, const real* scales, real scale,
    real* x, int m, int n)
{
    gather_rows(X, index, shift, scales, scale, x, m, n);
}

extern "C" __global__ void gather_reals(
    const real* X, const int* index, const real* shift, const real* scales, real scale,
    real* x, int m, int n)
{
    gather_rows(X, index, shift, scales, scale, x, m, n);
}
