package tokenizer

// The byte-level alphabet spells every byte as one printable character, as
// GPT-2's encoder.py defines it: a byte that is a visible Latin-1 character
// stands for itself, the others are numbered from U+0100 in byte order.

// alphabetSize is one more than the highest code point of the alphabet: 256 + 68
// bytes that do not stand for themselves.
const alphabetSize = 256 + 68

func standsForItself(b int) bool {
	return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE
}

var (
	alphabetChars = byteAlphabet()
	alphabetBytes = invertAlphabet()
)

// byteAlphabet gives the character of each byte.
func byteAlphabet() (chars [256]rune) {
	next := rune(256)
	for b := range chars {
		if standsForItself(b) {
			chars[b] = rune(b)
			continue
		}
		chars[b] = next
		next++
	}
	return chars
}

// invertAlphabet gives the byte of each character of the alphabet, -1 for others.
func invertAlphabet() (bytes [alphabetSize]int16) {
	for i := range bytes {
		bytes[i] = -1
	}
	for b, c := range alphabetChars {
		bytes[c] = int16(b)
	}
	return bytes
}
