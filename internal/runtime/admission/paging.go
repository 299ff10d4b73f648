package admission

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/message"
)

// Read is what a token reads of a parameter: so many bytes of those it has. Of a
// layer's experts it is a few, others each time.
type Read struct{ Bytes, Of int64 }

// paging says what comes of weights for which there is so little room.
func (g *Gate) paging(n Needs, room int64) string {
	share := 100 * float64(max(room, 0)) / float64(n.Weights)
	reads, err := n.Reads()
	if err != nil || len(reads) == 0 {
		return fmt.Sprintf("%.0f %% of the weights fit, and the rest is read from the disk again and again", share)
	}
	token, missing := int64(0), fromDisk(reads, room)
	for _, r := range reads {
		token += r.Bytes
	}
	rate, how := g.Rate(n.Files)
	return fmt.Sprintf("a token reads %s of weights, %.0f %% of all weights fit, and about %s a token come from the disk, which gives %s a second (%s): expect at most %s tokens a second",
		message.Bytes(token), share, message.Bytes(int64(missing)), message.Bytes(int64(rate)), how, significant(rate/missing))
}

// significant writes a number with two digits.
func significant(x float64) string {
	if x >= 10 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2g", x)
}

// fromDisk estimates how many bytes of a token's reads are not in memory, of which
// there is room for some. The page cache drops what was not used for longest: what
// each token reads stays, once there is room for one token, and each part of the rest
// stays as likely as it was used in the last few tokens, as many as fill the room (Che,
// Tung and Wang's approximation of such caches).
func fromDisk(reads []Read, room int64) float64 {
	var token, all float64
	for _, r := range reads {
		token += float64(r.Bytes)
		all += float64(r.Of)
	}
	switch {
	case float64(room) < token:
		return token
	case float64(room) >= all:
		return 0
	}
	// The room that the last tokens' reads fill grows with their number.
	few, many := 1.0, 2.0
	for filled(reads, many) < float64(room) && many < 1e12 {
		few, many = many, 2*many
	}
	for range 50 {
		if middle := (few + many) / 2; filled(reads, middle) < float64(room) {
			few = middle
		} else {
			many = middle
		}
	}
	missing := 0.0
	for _, r := range reads {
		missing += float64(r.Bytes) * (1 - r.used(few))
	}
	return missing
}

// filled is how many bytes so many tokens read, each counted once.
func filled(reads []Read, tokens float64) (sum float64) {
	for _, r := range reads {
		sum += float64(r.Of) * r.used(tokens)
	}
	return sum
}

// used is the share of the parameter that so many tokens, at least one, read.
func (r Read) used(tokens float64) float64 {
	if r.Bytes >= r.Of {
		return 1
	}
	return 1 - math.Pow(1-float64(r.Bytes)/float64(r.Of), tokens)
}
