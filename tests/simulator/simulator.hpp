// Runs CUDA kernels on the CPU, from the very source that the GPU's compiler gets.
//
// Every thread of a block is a fiber; barriers and exchanges between the lanes of a warp have their
// true meaning. Blocks run one after another. The order of blocks, and of the threads between two
// barriers, is drawn from a seed, so that a missing barrier gives wrong results. Shared memory
// starts as NaN. A barrier that not all threads reach, and a write past the shared memory that was
// asked for, are errors. What it cannot show: the speed, and the order in which memory is seen.
#pragma once
#include <setjmp.h>
#include <ucontext.h>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

namespace simulator {

struct Triple { unsigned x, y, z; };
enum Waits { NOT, FOR_BLOCK, FOR_WARP, DONE };
enum Result { OK, STUCK, PAST_SHARED };

struct Thread {
    ucontext_t start;
    jmp_buf context;
    std::vector<char> stack = std::vector<char>(64 * 1024);
    bool started = false;
    Triple index;
    Waits waits;
};

constexpr size_t SHARED_BYTES = 64 * 1024;
inline std::vector<Thread> threads;
inline Thread* current;
inline ucontext_t origin;
inline jmp_buf scheduler;
inline std::function<void()> kernel;
inline Triple block_index, block_size, grid_size;
inline uint64_t exchanged[1024];

inline int number() { return (int)(current - threads.data()); }

// Switching by _setjmp and _longjmp makes no system call; a fiber's first start has to.
inline void wait(Waits what)
{
    current->waits = what;
    if (!_setjmp(current->context)) _longjmp(scheduler, 1);
}
inline void thread_main()
{
    for (;;) {  // a thread of the next block goes on in the fiber of one that has ended
        kernel();
        wait(DONE);
    }
}
inline void go_on(Thread& t)
{
    current = &t;
    if (_setjmp(scheduler)) return;
    if (t.started) _longjmp(t.context, 1);
    t.started = true;
    getcontext(&t.start);
    t.start.uc_stack.ss_sp = t.stack.data();
    t.start.uc_stack.ss_size = t.stack.size();
    makecontext(&t.start, thread_main, 0);
    swapcontext(&origin, &t.start);
}

// All threads of [first, last) that have not ended wait for `what`: let them go on.
inline bool release(int first, int last, Waits what)
{
    int waiting = 0;
    for (int k = first; k < last; k++) {
        if (threads[k].waits == DONE) continue;
        if (threads[k].waits != what) return false;
        waiting++;
    }
    for (int k = first; k < last; k++)
        if (threads[k].waits == what) threads[k].waits = NOT;
    return waiting > 0;
}

inline Result run_block(int n, std::mt19937& random)
{
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    for (int k = 0; k < n; k++) {
        Thread& t = threads[k];
        t.index = {k % block_size.x, k / block_size.x % block_size.y, k / block_size.x / block_size.y};
        t.waits = NOT;
    }
    for (;;) {
        std::shuffle(order.begin(), order.end(), random);
        bool ran = false;
        for (int k : order)
            if (threads[k].waits == NOT) {
                ran = true;
                go_on(threads[k]);
            }
        if (ran) continue;
        bool any = release(0, n, FOR_BLOCK);
        for (int warp = 0; warp < n; warp += 32)
            any = release(warp, std::min(n, warp + 32), FOR_WARP) || any;
        if (!any)
            return std::all_of(threads.begin(), threads.begin() + n,
                               [](Thread& t) { return t.waits == DONE; }) ? OK : STUCK;
    }
}

inline Result launch(Triple grid, Triple block, size_t shared_bytes, unsigned seed, char* shared)
{
    grid_size = grid;
    block_size = block;
    int n = block.x * block.y * block.z;
    if ((int)threads.size() < n) threads.resize(n);
    std::mt19937 random(seed);
    std::vector<unsigned> blocks(grid.x * grid.y * grid.z);
    std::iota(blocks.begin(), blocks.end(), 0u);
    std::shuffle(blocks.begin(), blocks.end(), random);
    for (unsigned b : blocks) {
        block_index = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        memset(shared, 0xff, SHARED_BYTES);
        if (Result result = run_block(n, random)) {
            for (Thread& t : threads) t.started = false;  // some are stuck in the middle
            return result;
        }
        for (size_t k = shared_bytes; k < SHARED_BYTES; k++)
            if (shared[k] != (char)0xff) return PAST_SHARED;
    }
    return OK;
}

template <class T> T exchange(T value, int lane)
{
    int me = number();
    memcpy(&exchanged[me], &value, sizeof value);
    wait(FOR_WARP);
    T result;
    memcpy(&result, &exchanged[me / 32 * 32 + lane], sizeof result);
    wait(FOR_WARP);
    return result;
}

}  // namespace simulator

#define __global__
#define __device__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (simulator::current->index)
#define blockIdx simulator::block_index
#define blockDim simulator::block_size
#define gridDim simulator::grid_size
#define __syncthreads() simulator::wait(simulator::FOR_BLOCK)
#define __shfl_xor_sync(lanes, value, mask) \
    simulator::exchange(value, (simulator::number() % 32) ^ (mask))
using std::max;
using std::min;
REAL shared[simulator::SHARED_BYTES / sizeof(REAL)];
