package pick

import "fmt"

// Mask says which tokens may be picked: a bit each. Devices take it as it lies in
// memory, so a new one for every token of a text costs no more than its bytes.
type Mask struct {
	tokens int
	bits   []byte // that of a token in byte token/8; 4 bytes hold 32 tokens
}

// WordTokens is how many tokens a word of a mask has.
const WordTokens = 32

// MaskWords is the number of 32-bit words of a vocabulary's mask.
func MaskWords(vocab int) int { return (vocab + WordTokens - 1) / WordTokens }

// NewMask is a mask of a vocabulary that allows no token.
func NewMask(vocab int) *Mask { return &Mask{vocab, make([]byte, 4*MaskWords(vocab))} }

// NewMaskOfAll is a mask of a vocabulary that allows every token.
func NewMaskOfAll(vocab int) *Mask {
	m := NewMask(vocab)
	for id := range vocab {
		m.Allow(int32(id))
	}
	return m
}

// Allow lets a token be picked.
func (m *Mask) Allow(token int32) { m.bits[token>>3] |= 1 << (token & 7) }

// Forbid keeps a token from being picked.
func (m *Mask) Forbid(token int32) { m.bits[token>>3] &^= 1 << (token & 7) }

// Allows tells whether a token may be picked.
func (m *Mask) Allows(token int32) bool { return m.bits[token>>3]>>(token&7)&1 > 0 }

// Bytes are the mask as kernels read it: 32-bit words, the lowest byte first. They
// are the mask's.
func (m *Mask) Bytes() []byte { return m.bits }

// check refuses a mask of another vocabulary.
func (m *Mask) check(vocab int) error {
	if m.tokens != vocab {
		return fmt.Errorf("sampling: a mask of %d tokens for a row of %d logits", m.tokens, vocab)
	}
	return nil
}
