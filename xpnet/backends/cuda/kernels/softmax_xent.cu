// Softmax cross-entropy and its gradient in one pass: one warp a sample.

// Whether (a, i) comes before (b, j) as the class that is taken: NaN first, then the larger logit,
// then the smaller number.
__device__ __forceinline__ bool beats(real a, int i, real b, int j)
{
    bool a_nan = a != a, b_nan = b != b;
    if (a_nan || b_nan)
        return a_nan && (!b_nan || i < j);
    return a > b || (a == b && i < j);
}

// dlogits = scale w_i (softmax - q), q = (1 - smoothing) onehot(label) + smoothing / C; and for
// each block the sum of w_i loss_i and the number of samples that are right.
//
// weight is (m,), or null for 1; scale_at points to the scale, or is null for `scale`.
// Blocks of 256 at most. Shared: two numbers a warp.
extern "C" __global__ void __launch_bounds__(256, 3) softmax_xent(
    const real* logits, const int* labels, const real* weight, const real* scale_at, real scale,
    real smoothing, real* dlogits, real* losses, int* rights, int m, int C)
{
    extern __shared__ real shared[];
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (scale_at)
        scale = *scale_at;
    real loss = 0;
    int right = 0;
    for (int i = blockIdx.x * warps + warp; i < m; i += gridDim.x * warps) {
        const real* row = logits + (long long)i * C;
        real* drow = dlogits + (long long)i * C;
        int label = labels[i], best = lane < C ? lane : 0;
        for (int c = lane + 32; c < C; c += 32)
            if (beats(row[c], c, row[best], best))
                best = c;
        for (int apart = 16; apart; apart /= 2) {
            int other = __shfl_xor_sync(ALL_LANES, best, apart);
            if (beats(row[other], other, row[best], best))
                best = other;
        }
        real top = row[best], e_sum = 0, shifted_sum = 0;
        for (int c = lane; c < C; c += 32) {
            e_sum += exponential(row[c] - top);
            shifted_sum += row[c] - top;
        }
        e_sum = warp_sum(e_sum);
        shifted_sum = warp_sum(shifted_sum);
        real w = weight ? weight[i] : (real)1;
        for (int c = lane; c < C; c += 32) {
            real q = smoothing / C + (c == label ? 1 - smoothing : (real)0);
            drow[c] = w * (scale * (exponential(row[c] - top) / e_sum - q));
        }
        real expected = (1 - smoothing) * (row[label] - top) + smoothing / C * shifted_sum;
        loss += w * (logarithm(e_sum) - expected);
        right += best == label;
    }
    store_losses(loss, right, shared, losses, rights);
}

// The sums over the blocks: losses (n,) to loss_sum, rights (n,) to n_right. One block of one warp.
extern "C" __global__ void add_losses(
    const real* losses, const int* rights, real* loss_sum, int* n_right, int n)
{
    real loss = 0;
    int right = 0;
    for (int k = threadIdx.x; k < n; k += 32) {
        loss += losses[k];
        right += rights[k];
    }
    loss = warp_sum(loss);
    right = warp_sum(right);
    if (threadIdx.x == 0) {
        *loss_sum = loss;
        *n_right = right;
    }
}
