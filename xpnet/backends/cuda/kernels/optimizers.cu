// One pass over theta, the gradient and the slots a step. The learning rate and the number of
// the step t are read from the device: a captured step is replayed while they change.

// A slot's value, or 0 where it is tiny and it is time to flush (see Ops.flush).
__device__ __forceinline__ real flushed(real slot, int t)
{
    return t % FLUSH_EVERY == 0 && magnitude(slot) < (real)TINY ? (real)0 : slot;
}

// 1 + beta + ... + beta^(t-1).
__device__ __forceinline__ double total_weight(double beta, int t)
{
    return -expm1(t * log(beta)) / (1 - beta);
}

// theta -= lr g.
extern "C" __global__ void sgd(real* theta, const real* g, const real* lr, int n)
{
    FOR_EACH(i, n)
        theta[i] -= *lr * g[i];
}

// v = mu v + g;  theta -= lr v, or lr (g + mu v) with nesterov.
extern "C" __global__ void momentum(
    real* theta, const real* g, real* v, const int* t, const real* lr, real mu, int nesterov, int n)
{
    FOR_EACH(i, n) {
        real v_i = flushed(mu * v[i] + g[i], *t);
        v[i] = v_i;
        theta[i] -= *lr * (nesterov ? g[i] + mu * v_i : v_i);
    }
}

// v = rho v + rest g^2;  theta -= lr g / (sqrt(v) + eps).
extern "C" __global__ void rmsprop(
    real* theta, const real* g, real* v, const int* t, const real* lr, real rho, real rest,
    real eps, int n)
{
    FOR_EACH(i, n) {
        real v_i = flushed(rho * v[i] + rest * (g[i] * g[i]), *t);
        v[i] = v_i;
        theta[i] -= *lr * g[i] / (root(v_i) + eps);
    }
}

// m = beta1 m + g;  v = beta2 v + g^2;  theta -= rate m / (sqrt(v) + floor), where
// rate = lr sqrt(V) / M and floor = eps sqrt(V) are Adam's with M, V the total weights of m and v.
// Shared: two numbers.
extern "C" __global__ void adam(
    real* theta, const real* g, real* m, real* v, const int* t, const real* lr, double beta1,
    double beta2, double eps, int n)
{
    extern __shared__ real shared[];
    if (threadIdx.x == 0) {
        double root_V = sqrt(total_weight(beta2, *t));
        shared[0] = (real)(*lr * root_V / total_weight(beta1, *t));
        shared[1] = (real)(eps * root_V);
    }
    __syncthreads();
    real rate = shared[0], floor = shared[1], b1 = (real)beta1, b2 = (real)beta2;
    FOR_EACH(i, n) {
        real m_i = flushed(b1 * m[i] + g[i], *t), v_i = flushed(b2 * v[i] + g[i] * g[i], *t);
        m[i] = m_i;
        v[i] = v_i;
        theta[i] -= rate * m_i / (root(v_i) + floor);
    }
}
