package deepseekv4

import (
	_ "embed" // of the fixed texts
	"slices"
	"strings"

	"smelt.example/smelt/internal/models/chat"
)

// Special tokens of the chat format.
const (
	tokenBegin     = "<｜begin▁of▁sentence｜>"
	tokenEnd       = "<｜end▁of▁sentence｜>"
	tokenUser      = "<｜User｜>"
	tokenAssistant = "<｜Assistant｜>"
	tokenThink     = "<think>"
	tokenEndThink  = "</think>"
	tokenDSML      = "｜DSML｜" // inside the tags of calls
	tokenReminder  = "<｜latest_reminder｜>"
	tokenAction    = "<｜action｜>"
)

// taskToken is the special token of a task.
func taskToken(task string) (token string, ok bool) {
	if !slices.Contains([]string{"action", "query", "authority", "domain", "title", "read_url"}, task) {
		return "", false
	}
	return "<｜" + task + "｜>", true
}

// The model was trained on the bytes of these texts: they are not to be edited.
var (
	//go:embed chattext/tools_head.txt
	toolsHead string
	//go:embed chattext/tools_tail.txt
	toolsTail string
	//go:embed chattext/response_format_head.txt
	responseFormatHead string
	//go:embed chattext/effort_absolute.txt
	effortAbsolute string
	//go:embed chattext/effort_beyond.txt
	effortBeyond string
	//go:embed chattext/json_object.txt
	jsonObject string
)

// segments collects a prompt. Text that follows text joins it, as tokens may span both.
type segments []chat.Segment

func (s *segments) special(token string) {
	*s = append(*s, chat.Segment{Text: token, Special: true})
}

// opens adds the token that opens a turn of a role.
func (s *segments) opens(token, role string) {
	*s = append(*s, chat.Segment{Text: token, Special: true, Opens: role})
}

// part says of what was added since there were so many segments which part of an
// assistant's turn it is, unless it begins in the middle of a segment.
func (s segments) part(from int, t turn, part chat.TurnPart) {
	if from == 0 || !s[from-1].Special {
		return
	}
	for i := range s[from:] {
		s[from+i].Part, s[from+i].Message = part, t.number
	}
}

func (s *segments) text(texts ...string) {
	text := strings.Join(texts, "")
	if n := len(*s); n > 0 && !(*s)[n-1].Special {
		if (*s)[n-1].Text += text; text != "" {
			(*s)[n-1].Spelling = nil // it was of the text alone
		}
	} else if text != "" {
		*s = append(*s, chat.Segment{Text: text})
	}
}

// spelled adds a text that may have been written with tokens of its own.
func (s *segments) spelled(text string, all []chat.Spelling) {
	s.text(text)
	if n := len(*s); text != "" && (*s)[n-1].Text == text {
		(*s)[n-1].Spelling = chat.Spelled(text, all)
	}
}

// markup adds a text of the format's own, in which special tokens are special.
func (s *segments) markup(text string) {
	for text != "" {
		at, token := len(text), ""
		for _, x := range []string{tokenDSML, tokenThink, tokenEndThink} {
			if i := strings.Index(text, x); i >= 0 && i < at {
				at, token = i, x
			}
		}
		s.text(text[:at])
		if token != "" {
			s.special(token)
		}
		text = text[at+len(token):]
	}
}
