package perplexity

// Window is a part of a text that the model reads by itself, from position 0 on.
type Window struct {
	From, To int // tokens of the text
	// First is the first token that is scored here; those before it are read only.
	First int
}

// Windows cuts a text of so many tokens into windows of at most length tokens, each
// beginning stride after the one before it. A token is scored in the first window that
// has it. Those of the first window have all tokens of the text before them, the others
// at least length-stride. The very first token is not scored. The stride must be below
// the length, since a token needs one before it.
func Windows(tokens, length, stride int) []Window {
	all := []Window{{From: 0, To: min(length, tokens), First: 1}}
	for {
		last := all[len(all)-1]
		if last.To == tokens {
			return all
		}
		all = append(all, Window{From: last.From + stride, To: min(last.From+stride+length, tokens), First: last.To})
	}
}

// read is the end of the tokens that are read: what a window's last token predicts is
// scored in the next one.
func (w Window) read(tokens int) int {
	if w.To == tokens {
		return w.To
	}
	return w.To - 1
}

// Reads counts the tokens that are read in all windows of a text.
func Reads(windows []Window, tokens int) (n int) {
	for _, w := range windows {
		n += w.read(tokens) - w.From
	}
	return n
}
