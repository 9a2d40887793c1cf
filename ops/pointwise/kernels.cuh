// What is done to one pixel: the functions of formulas.py, for a GPU.
//
// T is the type of a pixel, R the real type that is worked in, O the integer type of a result.
// Nothing but plain C++ is used: CuPy compiles the functions for the GPU at hand when they are
// first called, the tests compile them with nvcc and with the compiler of the host.

#ifdef __CUDACC__
#define FOREBAY_PIXEL __host__ __device__ inline
#else
#define FOREBAY_PIXEL inline
#endif

FOREBAY_PIXEL float to_even(float value) { return rintf(value); }
FOREBAY_PIXEL double to_even(double value) { return rint(value); }
template <class T> FOREBAY_PIXEL T to_even(T whole) { return whole; }

template <class R, class T> FOREBAY_PIXEL R corrected(T pixel, R offset, R factor) {
    return (R(pixel) - offset) * factor;
}

template <class R, class T> FOREBAY_PIXEL R undarkened(T pixel, R bias, R current, R ratio) {
    return R(pixel) - bias - current * ratio;
}

template <class T> FOREBAY_PIXEL T flattened(T pixel, T low, T high, T background) {
    return pixel >= low && pixel <= high ? background : pixel;
}

template <class O, class T> FOREBAY_PIXEL O rounded(T pixel, T least, T most) {
    if (pixel != pixel) {
        return O(0);
    }
    const T whole = to_even(pixel);
    return O(whole < least ? least : (most < whole ? most : whole));
}

template <class T> FOREBAY_PIXEL T without_low_bits(T pixel, int count, T top) {
    const T half = T(T(1) << (count - 1)), below = T(half - 1), odd = T((pixel >> count) & 1);
    return pixel > T(top - half) ? top : T(T(pixel + below + odd) & T(~T(half | below)));
}

template <class O, class T, class Table> FOREBAY_PIXEL O looked_up(T pixel, const Table &table) {
    return table[pixel];
}

template <class R, class T>
FOREBAY_PIXEL R corrected_flattened(T pixel, R offset, R factor, R low, R high) {
    return flattened(corrected(pixel, offset, factor), low, high, R(0));
}

template <class O, class T, class R>
FOREBAY_PIXEL O corrected_rounded(T pixel, R offset, R factor, R low, R high, R least, R most) {
    return rounded<O>(corrected_flattened(pixel, offset, factor, low, high), least, most);
}
