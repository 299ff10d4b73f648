package openai

import (
	"slices"
	"strings"
	"unicode/utf8"

	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// completionWriter is the api.Writer of completions.
type completionWriter struct {
	call      *api.Call
	usage     bool // as a chunk of its own
	logProbs  bool
	echo      bool
	head      head
	choices   []*completionChoice
	perPrompt int // choices of a prompt
}

// completionChoice is one text so far.
type completionChoice struct {
	echo     string          // the prompt, if it is to be there
	text     strings.Builder // what came behind it
	length   int             // of both, in characters
	logProbs textLogProbs
	finish   string
	usage    turn.Usage
}

// another is a choice that begins alike.
func (c *completionChoice) another() *completionChoice {
	l := &c.logProbs
	return &completionChoice{
		echo: c.echo, length: c.length, usage: c.usage,
		logProbs: textLogProbs{slices.Clone(l.Tokens), slices.Clone(l.LogProbs), slices.Clone(l.Top), slices.Clone(l.Offsets)},
	}
}

// textLogProbs are the probabilities of a text's tokens, as this protocol has them.
type textLogProbs struct {
	Tokens   []string             `json:"tokens"`
	LogProbs []*float64           `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"` // in characters
}

// textChoice is a choice as it is written.
type textChoice struct {
	Text     string        `json:"text"`
	Index    int           `json:"index"`
	LogProbs *textLogProbs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
}

// textBody is an answer or a chunk of one.
type textBody struct {
	head
	Choices []textChoice `json:"choices"`
	Usage   *usage       `json:"usage,omitzero"`
}

// begin has a choice begin with its prompt.
func (w *completionWriter) begin(c *completionChoice, p engine.Prompt, top int) error {
	c.echo, c.length = p.Text, utf8.RuneCountInString(p.Text)
	if !w.logProbs {
		return nil
	}
	var scores []engine.Score
	if len(p.IDs) > 1 {
		var err error
		if scores, err = w.call.Engine.Score(w.call.Context(), p.IDs, top); err != nil {
			return err
		}
	}
	m, at := w.call.Engine.Model(), 0
	text, err := m.Tokenizer.Decode(p.IDs)
	before := err == nil && text != p.Text // the first token was put before the text
	for i, id := range p.IDs {
		var score *engine.Score // the first token has none
		if i > 0 {
			score = &scores[i-1]
		}
		token := m.Spell(id)
		c.logProbs.add(m, token, score, at)
		if i > 0 || !before {
			at += utf8.RuneCountInString(token)
		}
	}
	return nil
}

func (l *textLogProbs) add(m *engine.Model, token string, s *engine.Score, at int) {
	l.Tokens, l.Offsets = append(l.Tokens, token), append(l.Offsets, at)
	if s == nil {
		l.LogProbs, l.Top = append(l.LogProbs, nil), append(l.Top, nil)
		return
	}
	own := api.Finite(s.LogProb)
	top := map[string]float64{}
	for _, t := range s.Top {
		if spelled := m.Spell(t.Token); len(top) == 0 || top[spelled] == 0 { // of equal spellings the best
			top[spelled] = api.Finite(t.LogProb)
		}
	}
	l.LogProbs, l.Top = append(l.LogProbs, &own), append(l.Top, top)
}

func (w *completionWriter) chunk(c textChoice) []api.Frame {
	return []api.Frame{{Data: textBody{head: w.head, Choices: []textChoice{c}}}}
}

// Open sends the prompts if they are to be echoed.
func (w *completionWriter) Open() (frames []api.Frame) {
	for i, c := range w.choices {
		if !w.echo {
			break
		}
		out := textChoice{Text: c.echo, Index: i}
		if w.logProbs {
			out.LogProbs = &c.logProbs
		}
		frames = append(frames, w.chunk(out)...)
	}
	return frames
}

// Event sends what an event adds.
func (w *completionWriter) Event(e turn.Event) []api.Frame {
	c := w.choices[e.Choice]
	if e.End != nil {
		c.usage, c.finish = e.End.Usage, finishWord(e.End.Reason)
		return w.chunk(textChoice{Index: e.Choice, Finish: &c.finish})
	}
	out := textChoice{Index: e.Choice}
	at := c.length
	for _, d := range e.Deltas {
		out.Text += d.Text
	}
	c.text.WriteString(out.Text)
	c.length += utf8.RuneCountInString(out.Text)
	if w.logProbs {
		out.LogProbs = w.probabilities(c, e, at)
	}
	return w.chunk(out)
}

// probabilities adds those of an event's tokens, whose text begins at a place.
func (w *completionWriter) probabilities(c *completionChoice, e turn.Event, at int) *textLogProbs {
	m, piece := w.call.Engine.Model(), &textLogProbs{}
	for _, t := range e.Tokens {
		token := m.Spell(t.ID)
		score := &engine.Score{LogProb: t.LogProb, Top: t.Top}
		piece.add(m, token, score, at)
		c.logProbs.add(m, token, score, at)
		at += utf8.RuneCountInString(token)
	}
	return piece
}

// Alive is a comment.
func (*completionWriter) Alive() api.Frame { return api.Frame{Comment: "keep-alive"} }

// Fail sends the error.
func (w *completionWriter) Fail(e *api.Error) []api.Frame {
	return []api.Frame{{Data: api.OpenAI.Body(e, w.call.ID)}}
}

// Close sends the end of choices that had nothing to generate, the usage, if it was asked
// for, and the protocol's last line.
func (w *completionWriter) Close() (frames []api.Frame) {
	for i := range w.choices {
		if c := w.choices[i]; c.finish == "" {
			c.finish = finishWord(turn.Length)
			frames = append(frames, w.chunk(textChoice{Index: i, Finish: &c.finish})...)
		}
	}
	if w.usage {
		frames = append(frames, api.Frame{Data: textBody{head: w.head, Choices: []textChoice{}, Usage: w.total()}})
	}
	return append(frames, api.Frame{Data: api.Literal("[DONE]")})
}

// Whole is the answer in one piece.
func (w *completionWriter) Whole() any {
	w.Close()
	body := textBody{head: w.head, Usage: w.total()}
	for i := range w.choices {
		c := w.choices[i]
		out := textChoice{Text: c.echo + c.text.String(), Index: i, Finish: &c.finish}
		if w.logProbs {
			out.LogProbs = &c.logProbs
		}
		body.Choices = append(body.Choices, out)
	}
	return body
}

// total is the usage of all choices. A prompt counts once.
func (w *completionWriter) total() *usage {
	sum := &usage{}
	for i := 0; i < len(w.choices); i += w.perPrompt {
		var all []turn.Usage
		for _, c := range w.choices[i : i+w.perPrompt] {
			all = append(all, c.usage)
		}
		sum.add(usageOf(all))
	}
	return sum
}

// add adds another prompt's.
func (u *usage) add(v *usage) {
	for _, x := range []struct {
		to   *int
		more int
	}{
		{&u.Prompt, v.Prompt}, {&u.Completion, v.Completion}, {&u.Total, v.Total}, {&u.Hit, v.Hit}, {&u.Miss, v.Miss},
		{&u.OfPrompt.Cached, v.OfPrompt.Cached}, {&u.OfCompletion.Reasoning, v.OfCompletion.Reasoning},
	} {
		*x.to += x.more
	}
}
