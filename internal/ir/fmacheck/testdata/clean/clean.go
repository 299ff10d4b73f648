// Package clean converts every product, so nothing may be fused.
package clean

func Add64(x, y, z float64) float64 { return float64(x*y) + z }
func Add32(x, y, z float32) float32 { return float32(x*y) + z }

func generic[F float32 | float64](x, y, z F) F { return z + F(x*y) }

func Generic(x, y, z float64) float64 { return generic(x, y, z) }
