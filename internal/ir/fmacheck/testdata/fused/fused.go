// Package fused has one function per fused instruction that fmacheck looks for.
package fused

// The four signs, in both widths, then a generic function and one that is inlined.

func Add64(x, y, z float64) float64    { return x*y + z }
func Sub64(x, y, z float64) float64    { return z - x*y }
func NegAdd64(x, y, z float64) float64 { return -(x * y) - z }
func NegSub64(x, y, z float64) float64 { return x*y - z }
func Add32(x, y, z float32) float32    { return x*y + z }
func Sub32(x, y, z float32) float32    { return z - x*y }

func generic[F float32 | float64](x, y, z F) F { return z + x*y }

func Generic(x, y, z float64) float64 { return generic(x, y, z) }

type pair struct{ a, b float64 }

func (p *pair) update(x float64) { p.a += p.b * x }

func Inlined(p *pair) { p.update(3) }
