// Binary cross-entropy on logits and its gradient in one pass: one warp a sample.

// dlogits = scale w_i (sigmoid(z) - q) / k; and for each block the sum of w_i loss_i, where loss_i is
// the mean over the k outputs of ln(1 + exp(z)) - q z, and the number of samples that are right in
// all of them.
//
// targets q are (m, k); weight is (m,), or null for 1; scale_at points to the scale, or is null for
// `scale`. Blocks of 256 at most. Shared: two numbers a warp.
extern "C" __global__ void __launch_bounds__(256, 3) sigmoid_xent(
    const real* logits, const real* targets, const real* weight, const real* scale_at, real scale,
    real* dlogits, real* losses, int* rights, int m, int k)
{
    extern __shared__ real shared[];
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (scale_at)
        scale = *scale_at;
    real loss = 0;
    int right = 0;
    for (int i = blockIdx.x * warps + warp; i < m; i += gridDim.x * warps) {
        long long row = (long long)i * k;
        real w = weight ? weight[i] : (real)1, sum = 0, wrong = 0;
        for (int j = lane; j < k; j += 32) {
            real z = logits[row + j], q = targets[row + j];
            real e = exponential(-magnitude(z));  // cannot overflow
            real p = z >= 0 ? 1 / (1 + e) : e / (1 + e);
            sum += (z <= 0 ? (real)0 : z) + logarithm_of_1_plus(e) - q * z;  // NaN stays NaN
            dlogits[row + j] = w * (scale * (p - q) / k);
            wrong += (z > 0) != (q > (real)0.5);
        }
        loss += w * (warp_sum(sum) / k);
        right += warp_sum(wrong) == 0;
    }
    store_losses(loss, right, shared, losses, rights);
}
