// Dropout and the order of samples, from the counter-based generator that every backend has
// (Threefry, 20 rounds: Salmon et al. 2011): the words depend on the key and the counter alone,
// not on the order of threads.

__device__ __forceinline__ void threefry2x32(unsigned k0, unsigned k1, unsigned& x0, unsigned& x1)
{
    const int rotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    unsigned keys[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    x0 += k0;
    x1 += k1;
#pragma unroll
    for (int round = 0; round < 20; round++) {
        int n = rotations[round % 8];
        x0 += x1;
        x1 = ((x1 << n) | (x1 >> (32 - n))) ^ x0;
        if (round % 4 == 3) {
            int group = round / 4;
            x0 += keys[(group + 1) % 3];
            x1 += keys[(group + 2) % 3] + (unsigned)(group + 1);
        }
    }
}

// y = x * factor where kept, else 0. The counter is (t, row * half + column), half = (n + 1) / 2;
// its two words serve the left and the right half of the row. Kept where word >= threshold.
extern "C" __global__ void dropout(
    const real* x, const int* t, const int* rows, int seed, int stream, int threshold, real factor,
    real* y, int m, int n)
{
    int half = (n + 1) / 2;
    FOR_EACH(i, m * half) {
        int row = i / half, column = i % half;
        unsigned left = (unsigned)*t, right = (unsigned)(rows[row] * half + column);
        threefry2x32((unsigned)seed, (unsigned)stream, left, right);
        long long at = (long long)row * n + column;
        y[at] = (int)left >= threshold ? x[at] * factor : x[at] * 0;
        if (column + half < n)
            y[at + half] = (int)right >= threshold ? x[at + half] * factor : x[at + half] * 0;
    }
}

// words[i] = the first word of the counter (round, i) of a stream: what an order is sorted by.
extern "C" __global__ void order_words(int seed, int stream, int round, int* words, int n)
{
    FOR_EACH(i, n) {
        unsigned word = (unsigned)round, other = (unsigned)i;
        threefry2x32((unsigned)seed, (unsigned)stream, word, other);
        words[i] = (int)word;
    }
}
