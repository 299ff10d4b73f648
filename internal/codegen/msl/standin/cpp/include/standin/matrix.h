// simdgroup_matrix of 8 by 8. A lane holds two elements, neighbours in a row;
// which is Apple's secret, so kernels may not depend on it.
#pragma once

namespace metal {

template <class T, int Cols, int Rows = Cols> struct simdgroup_matrix {
    static_assert(Cols == 8 && Rows == 8, "a simdgroup_matrix is 8 by 8");
    static_assert(::standin::floating<T>, "a simdgroup_matrix is of floating-point numbers");

    simdgroup_matrix() = default;
    // A diagonal matrix.
    explicit simdgroup_matrix(T value) {
        for (int i = 0; i < 2; i++) {
            held[i] = row() == column(i) ? value : T(0);
        }
    }

    // Where this lane's elements stand.
    static int row() { return int(::standin::current->lane) / 4; }
    static int column(int i) { return int(::standin::current->lane) % 4 * 2 + i; }

    T held[2];
};

typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <class T, int Cols, int Rows = Cols> inline simdgroup_matrix<T, Cols, Rows> make_filled_simdgroup_matrix(T value) {
    simdgroup_matrix<T, Cols, Rows> m;
    m.held[0] = m.held[1] = value;
    return m;
}

} // namespace metal

namespace standin {

// whole_group: an operation on matrices needs all 32 lanes.
inline void whole_group(Site site) {
    if (current->group->lanes != max_lanes) {
        fail(site, "needs a whole SIMD group; lanes of this one:", current->group->lanes);
    }
}

// index of an element in memory.
inline ulong index(int row, int column, ulong per_row, ulong2 origin, bool transpose) {
    return transpose ? (origin.y + ulong(column)) * per_row + origin.x + ulong(row)
                     : (origin.y + ulong(row)) * per_row + origin.x + ulong(column);
}

typedef float row8 __attribute__((ext_vector_type(8)));

// multiply_add is a*b+c of matrices of 8 rows. Metal does not say in which order
// it adds, so there are two: c first, or the products first.
inline void multiply_add(const row8 *a, const row8 *b, const row8 *c, row8 *result) {
    for (int i = 0; i < 8; i++) {
        row8 sum = ascending ? c[i] : row8(0.0f);
        for (int k = 0; k < 8; k++) {
            sum = __builtin_elementwise_fma(row8(a[i][k]), b[k], sum);
        }
        result[i] = ascending ? sum : sum + c[i];
    }
}

// operand returns the 64 elements of the n-th operand of a meeting.
inline float *operand(Meeting &m, int n) { return reinterpret_cast<float *>(m.operands) + 64 * n; }

} // namespace standin

namespace metal {

template <class D, class A, class B, class C>
inline void simdgroup_multiply_accumulate(thread simdgroup_matrix<D, 8, 8> &d, simdgroup_matrix<A, 8, 8> a,
                                          simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<C, 8, 8> c, STANDIN_HERE) {
    using namespace ::standin;
    Site site = STANDIN_SITE(simdgroup_multiply_accumulate);
    whole_group(site);
    Meeting &m = meeting();
    u32 at = 2 * current->lane;
    for (int i = 0; i < 2; i++) {
        operand(m, 0)[at + i] = float(a.held[i]);
        operand(m, 1)[at + i] = float(b.held[i]);
        operand(m, 2)[at + i] = float(c.held[i]);
    }
    meet(site);
    if (!m.computed) {
        const row8 *rows = reinterpret_cast<const row8 *>(m.operands);
        multiply_add(rows, rows + 8, rows + 16, reinterpret_cast<row8 *>(m.result));
        m.computed = true;
    }
    for (int i = 0; i < 2; i++) {
        d.held[i] = D(reinterpret_cast<const float *>(m.result)[at + i]);
    }
}

template <class D, class A, class B>
inline void simdgroup_multiply(thread simdgroup_matrix<D, 8, 8> &d, simdgroup_matrix<A, 8, 8> a,
                               simdgroup_matrix<B, 8, 8> b, STANDIN_HERE) {
    simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<D, 8, 8>(D(0)), line, column);
}

// A lane loads before the lanes meet, and stores after: so a barrier that is
// missing before or behind is noticed.
#define STANDIN_TRANSFER(space)                                                                          \
    template <class T>                                                                                   \
    inline void simdgroup_load(thread simdgroup_matrix<T, 8, 8> &m, const space T *memory, ulong per_row = 8, \
                               ulong2 origin = ulong2(0), bool transpose = false, STANDIN_HERE) {        \
        ::standin::whole_group(STANDIN_SITE(simdgroup_load));                                            \
        for (int i = 0; i < 2; i++) {                                                                    \
            m.held[i] = memory[::standin::index(m.row(), m.column(i), per_row, origin, transpose)];      \
        }                                                                                                \
        ::standin::meet(STANDIN_SITE(simdgroup_load));                                                   \
    }                                                                                                    \
    template <class T>                                                                                   \
    inline void simdgroup_store(simdgroup_matrix<T, 8, 8> m, space T *memory, ulong per_row = 8,         \
                                ulong2 origin = ulong2(0), bool transpose = false, STANDIN_HERE) {       \
        ::standin::whole_group(STANDIN_SITE(simdgroup_store));                                           \
        ::standin::meet(STANDIN_SITE(simdgroup_store));                                                  \
        for (int i = 0; i < 2; i++) {                                                                    \
            memory[::standin::index(m.row(), m.column(i), per_row, origin, transpose)] = m.held[i];      \
        }                                                                                                \
    }
STANDIN_TRANSFER(device)
#ifdef STANDIN_CHECK // otherwise both spaces are one
STANDIN_TRANSFER(threadgroup)
#endif
#undef STANDIN_TRANSFER

} // namespace metal
