// Work on the flat vector of all parameters before the optimizer: sums, clipping, decay.

// sums[block] = the sum of the squares of this block's elements of g (n,).
// Blocks are whole warps. Shared: one number a warp.
extern "C" __global__ void square_sums(const real* g, real* sums, int n)
{
    extern __shared__ real shared[];
    real sum = 0;
    FOR_EACH(i, n)
        sum += g[i] * g[i];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

// g *= *factor.
extern "C" __global__ void scale_by(real* g, const real* factor, int n)
{
    FOR_EACH(i, n)
        g[i] *= *factor;
}

// g brought into [-limit, limit]; NaN stays NaN.
extern "C" __global__ void clip_value(real* g, real limit, int n)
{
    FOR_EACH(i, n) {
        real value = g[i];
        g[i] = value > limit ? limit : value < -limit ? -limit : value;
    }
}

// v += a *factor theta on the first n elements; factor may be null for 1.
extern "C" __global__ void add_weights(
    real* v, const real* factor, real a, const real* theta, int n)
{
    if (factor)
        a *= *factor;
    FOR_EACH(i, n)
        v[i] += a * theta[i];
}

// total += g.
extern "C" __global__ void add(real* total, const real* g, int n)
{
    FOR_EACH(i, n)
        total[i] += g[i];
}
