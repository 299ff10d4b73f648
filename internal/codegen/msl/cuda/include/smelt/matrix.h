// simdgroup_matrix of 8 by 8. A lane holds two neighbours in a row, as the tensor
// cores' accumulators of doubles do.
#pragma once

namespace metal {

template <class T, int Cols, int Rows = Cols> struct simdgroup_matrix {
    static_assert(Cols == 8 && Rows == 8, "a simdgroup_matrix is 8 by 8");

    static int row() { return int(::smelt::lane()) / 4; }
    static int column(int i) { return int(::smelt::lane()) % 4 * 2 + i; }

    T held[2];
};

typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;

template <class T, int Cols, int Rows = Cols> inline simdgroup_matrix<T, Cols, Rows> make_filled_simdgroup_matrix(T value) {
    simdgroup_matrix<T, Cols, Rows> m;
    m.held[0] = m.held[1] = value;
    return m;
}

template <class T>
inline void simdgroup_load(simdgroup_matrix<T, 8, 8> &m, const T *memory, ulong per_row = 8, ulong2 origin = ulong2(0),
                           bool transpose = false) {
    for (int i = 0; i < 2; i++) {
        ulong row = m.row(), column = m.column(i);
        m.held[i] = transpose ? memory[(origin.y + column) * per_row + origin.x + row]
                              : memory[(origin.y + row) * per_row + origin.x + column];
    }
}
template <class T>
inline void simdgroup_store(simdgroup_matrix<T, 8, 8> m, T *memory, ulong per_row = 8, ulong2 origin = ulong2(0),
                            bool transpose = false) {
    for (int i = 0; i < 2; i++) {
        ulong row = m.row(), column = m.column(i);
        memory[transpose ? (origin.y + column) * per_row + origin.x + row : (origin.y + row) * per_row + origin.x + column] =
            m.held[i];
    }
}

} // namespace metal

namespace smelt {

#if __CUDA_ARCH__ == 800 || __CUDA_ARCH__ == 900 || __CUDA_ARCH__ == 1000

// multiply_add computes in doubles on the tensor cores of cards that have full ones:
// products are exact, and a sum of eight is rounded to float once.
//
// One instruction takes four columns of a, where a lane holds one element, and four
// rows of b. The columns that a lane of a float matrix holds first, 0, 2, 4 and 6, go
// into the first instruction, the others into the second: so a stays where it is.
// Lane (k, n) of the first needs row 2k and column n of b.
inline void multiply_add(float (&d)[2], const float (&a)[2], const float (&b)[2], const float (&c)[2]) {
    double x = c[0], y = c[1];
    int n = int(lane()) / 4, k = int(lane()) % 4;
    for (int half_of = 0; half_of < 2; half_of++) {
        int from = (2 * k + half_of) * 4 + n / 2;
        float even = __shfl_sync(all, b[0], from), odd = __shfl_sync(all, b[1], from);
        double left = a[half_of], right = n % 2 == 0 ? even : odd;
        // volatile: an instruction of the whole warp must not be copied into branches,
        // where lanes that wait for each other would stand in different copies.
        asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                     : "+d"(x), "+d"(y)
                     : "d"(left), "d"(right));
    }
    d[0] = float(x);
    d[1] = float(y);
}

#else

// multiply_add adds products in the order of k, each rounded once with its sum.
inline void multiply_add(float (&d)[2], const float (&a)[2], const float (&b)[2], const float (&c)[2]) {
    float x = c[0], y = c[1];
    int row = int(lane()) / 4, pair = int(lane()) % 4;
    for (int k = 0; k < 8; k++) {
        float left = __shfl_sync(all, a[k % 2], row * 4 + k / 2);
        x = __fmaf_rn(left, __shfl_sync(all, b[0], k * 4 + pair), x);
        y = __fmaf_rn(left, __shfl_sync(all, b[1], k * 4 + pair), y);
    }
    d[0] = x;
    d[1] = y;
}

#endif

} // namespace smelt

namespace metal {

template <class A, class B>
inline void simdgroup_multiply_accumulate(simdgroup_matrix<float, 8, 8> &d, simdgroup_matrix<A, 8, 8> a,
                                          simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<float, 8, 8> c) {
    const float left[2] = {float(a.held[0]), float(a.held[1])}, right[2] = {float(b.held[0]), float(b.held[1])};
    ::smelt::multiply_add(d.held, left, right, c.held);
}

} // namespace metal
