package smelt

import (
	"errors"
	"reflect"
	"testing"

	"smelt.example/smelt/runtime/sampling"
)

// join puts pieces of an answer together.
func join(t *testing.T, m *Message, piece Message) {
	t.Helper()
	m.Role = piece.Role
	m.Reasoning += piece.Reasoning
	m.Content += piece.Content
	for _, c := range piece.ToolCalls {
		if c.Name != "" {
			m.ToolCalls = append(m.ToolCalls, c)
		} else {
			m.ToolCalls[len(m.ToolCalls)-1].Arguments += c.Arguments
		}
	}
}

// TestAnswerPieces: whatever ends an answer, its pieces come early and make the message that
// the result has.
func TestAnswerPieces(t *testing.T) {
	m := open(t, storyteller, Options{Context: 32})
	tok, err := m.Files().Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	const call = "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Linz</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"time\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
	ids, err := tok.Encode("I think so.</think>A fox 🦊 is here." + "\n\n" + call)
	if err != nil {
		t.Fatal(err)
	}
	question := []Message{{Role: RoleSystem, Tools: []string{"{}"}}, {Role: RoleUser, Content: "?"}}
	format := m.Files().answer(Request{Messages: question, Think: true})
	for _, stops := range [][]string{nil, {"none of it"}, {"fox"}, {"think so.</think>A f"}, {"think so.</think>A g"}, {"🦊 is"}, {"\n\n"}, {"weat"}, {" city"}, {"Linz"}} {
		for n := range len(ids) + 1 {
			g := &Generation{tok: tok, chat: format, stops: stops}
			s, d := newAnswerStream(g), newDecoder(tok, stops)
			var got Message
			var r Result
			early, used := 0, 0
			for _, id := range ids[:n] {
				used++
				for _, piece := range s.push(id) {
					early++
					join(t, &got, piece)
				}
				text, err := d.push(id)
				if err != nil {
					t.Fatal(err)
				}
				if r.Text += text; d.found() != "" {
					break
				}
			}
			r.Text, r.StopString = r.Text+d.flush(), d.found()
			want, err := format.parse(tok, ids[:used], r)
			if err != nil && n == len(ids) {
				t.Errorf("stops %q: %v", stops, err)
			}
			for _, piece := range s.rest(want) {
				join(t, &got, piece)
			}
			got.Role = want.Role
			if !reflect.DeepEqual(got, want) || len(stops) == 0 && n == len(ids) && early < 15 {
				t.Fatalf("stops %q, %d tokens, %d pieces early:\n got %+v\nwant %+v", stops, n, early, got, want)
			}
		}
	}
}

// unspelled is a message without the tokens of its texts.
func unspelled(m Message) Message {
	m.Spellings = nil
	return m
}

func TestAnswer(t *testing.T) {
	m := open(t, storyteller, Options{Context: 64})
	question := []Message{{Role: RoleUser, Content: "Tell me about a cat."}}
	for _, think := range []bool{false, true} {
		g := generate(t, m, Request{Messages: question, Think: think, MaxTokens: 8, Sampling: &sampling.Params{}, StopStrings: []string{"is"}})
		var got Message
		for piece, err := range g.Answer() {
			if err != nil {
				t.Fatal(err)
			}
			join(t, &got, piece)
		}
		if r, err := g.Wait(); err != nil || got.Content+got.Reasoning == "" || !reflect.DeepEqual(got, unspelled(r.Message)) {
			t.Errorf("got %+v, want %+v, %v", got, r.Message, err)
		}
	}
	for _, err := range generate(t, m, Request{Prompt: "Once", MaxTokens: 2}).Answer() {
		if !errors.Is(err, ErrNoChat) {
			t.Errorf("of a text: %v", err)
		}
	}
	g := generate(t, m, Request{Messages: question, Sampling: &sampling.Params{}})
	for range g.Answer() {
		break
	}
	if r, err := g.Wait(); err != nil || r.Reason != StopCancelled {
		t.Errorf("after a reader that left: %s, %v", r.Reason, err)
	}
}
