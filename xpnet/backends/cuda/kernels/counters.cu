// What a training counts, by one thread, so that it is one node of a graph and not ten.

// As Ops.count: counters after `m` more samples, and the step done if they are its last.
// n_correct_at is null where nothing is classified; weight_at points to the samples' sum of
// weights, or is null for `weight`.
extern "C" __global__ void count(
    const real* loss_at, const int* n_correct_at, const real* weight_at, real weight, int m,
    int last, int* t, int* position, real* loss_sum, real* weight_sum, int* n_correct, int* first_bad_step)
{
    if (threadIdx.x || blockIdx.x)
        return;
    real sum = *loss_sum + *loss_at;
    *position += m;
    *loss_sum = sum;
    *weight_sum += weight_at ? *weight_at : weight;
    if (n_correct_at)
        *n_correct += *n_correct_at;
    if (!*first_bad_step && !(sum - sum == 0))  // not so for infinity and NaN alone
        *first_bad_step = *t + 1;
    *t += last;
}
