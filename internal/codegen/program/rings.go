package program

// RingsRegion stands in the place of a region's name in a launch that copies rows
// between rings.
const RingsRegion = "rings"

// Roles of those launches.
const (
	RingsIn  = "in"  // from the slot into the areas
	RingsOut = "out" // and back
)

// MaxRings is the most rings that a launch copies: each adds half a kilobyte to the
// kernel's text. A layer has up to five.
const MaxRings = 16
