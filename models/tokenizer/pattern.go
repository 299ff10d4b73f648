package tokenizer

import (
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// A pattern whose backtracking explodes is stopped: one match after
// matchTimeout, one Encode after splitTimeout and splitTimeoutPerMB for each
// megabyte of text. Sound patterns take a quarter of a second for a megabyte;
// the limits leave room for machines that are slow, busy or instrumented.
const (
	matchTimeout      = 30 * time.Second
	splitTimeout      = time.Minute
	splitTimeoutPerMB = 2 * time.Minute
)

// splitDeadline is the time by which splitting a text of size bytes, begun now, must end.
func splitDeadline(size int) time.Time {
	return time.Now().Add(splitTimeout + time.Duration(size>>20)*splitTimeoutPerMB)
}

// errTimeout reports that a pattern took too long on some text.
var errTimeout = errors.New("a pre_tokenizer pattern took too long: it backtracks too much on this text")

// regex is a pattern of a tokenizer.json. The Hugging Face library runs patterns
// with Oniguruma, this package with regexp2; translate admits only what means the
// same in both.
type regex struct{ re *regexp2.Regexp }

// insensitiveSuffixes is the one case-insensitive group accepted: the English
// suffixes of the Llama 3 and Qwen patterns. Oniguruma folds ſ (U+017F) with s;
// foldedSuffixes spells that out.
const (
	insensitiveSuffixes = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	foldedSuffixes      = `(?:'[sSſ]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`
)

func compilePattern(pattern string) (*regex, error) {
	if pattern == "" || len(pattern) > maxPatternBytes {
		return nil, refuse("pre_tokenizer Split: Regex pattern has %d bytes; expected 1 to %d", len(pattern), maxPatternBytes)
	}
	expanded := strings.ReplaceAll(pattern, insensitiveSuffixes, foldedSuffixes)
	expanded, err := translate(expanded)
	if err != nil {
		return nil, refuse("pre_tokenizer Split: Regex %.120q: %v", pattern, err)
	}
	re, err := regexp2.Compile(expanded, regexp2.None)
	if err != nil {
		return nil, refuse("pre_tokenizer Split: Regex %.120q: %v", pattern, err)
	}
	re.MatchTimeout = matchTimeout
	return &regex{re}, nil
}

// find reports the matches as Oniguruma's scan does: an empty match right after
// the match before it does not count.
func (r *regex) find(runes []rune, deadline time.Time, found func(span)) error {
	m, err := r.re.FindRunesMatch(runes)
	last := -1
	for err == nil && m != nil {
		p := span{m.Index, m.Index + m.Length}
		if p.lo != p.hi || p.lo != last {
			found(p)
		}
		last = p.hi
		if time.Now().After(deadline) {
			return errTimeout
		}
		m, err = r.re.FindNextMatch(m)
	}
	if err != nil {
		return errTimeout
	}
	return nil
}

// patternScanner walks a pattern and refuses constructs that Oniguruma's default
// syntax and regexp2 read differently, or that one of them lacks. It rewrites
// the properties that Go's Unicode tables lag behind in.
type patternScanner struct {
	pattern    string
	rest       string
	out        strings.Builder // the translation of pattern[:done]
	done       int
	inClass    bool
	groups     []bool // open groups; true for a look-ahead, which can't be repeated
	repeatable bool   // the item just read may take a quantifier
}

// translate checks a pattern and returns it in regexp2's syntax.
func translate(pattern string) (string, error) {
	s := &patternScanner{pattern: pattern, rest: pattern}
	for s.rest != "" {
		if err := s.item(); err != nil {
			return "", err
		}
	}
	if len(s.groups) != 0 {
		return "", refuse("%d groups are not closed", len(s.groups))
	}
	s.out.WriteString(pattern[s.done:])
	return s.out.String(), nil
}

// at is the scanner's position in the pattern.
func (s *patternScanner) at() int { return len(s.pattern) - len(s.rest) }

// skip consumes prefix if the rest of the pattern starts with it.
func (s *patternScanner) skip(prefix string) bool {
	rest, ok := strings.CutPrefix(s.rest, prefix)
	s.rest = rest
	return ok
}

func (s *patternScanner) item() error {
	switch c := s.rest[0]; c {
	case '(':
		return s.open()
	case ')':
		last := len(s.groups) - 1
		if last < 0 {
			return refuse("a ) closes no group")
		}
		s.rest, s.repeatable = s.rest[1:], !s.groups[last]
		s.groups = s.groups[:last]
	case '|':
		s.rest, s.repeatable = s.rest[1:], false
	case '*', '+', '?', '{':
		return s.quantifier()
	case '[':
		s.repeatable = true
		return s.class()
	case '\\':
		s.repeatable = true
		_, err := s.escape()
		return err
	case '^', '$', ']', '}':
		return refuse("%q is not supported here (a literal one must be escaped)", c)
	default:
		_, size := utf8.DecodeRuneInString(s.rest)
		s.rest, s.repeatable = s.rest[size:], true
	}
	return nil
}

func (s *patternScanner) open() error {
	if len(s.groups) == 100 {
		return refuse("groups are nested more than 100 deep")
	}
	s.repeatable = false
	lookahead := s.skip("(?!") || s.skip("(?=")
	s.groups = append(s.groups, lookahead)
	if lookahead || s.skip("(?:") {
		return nil
	}
	if strings.HasPrefix(s.rest, "(?") {
		return refuse("group %.4q is not supported; ( (?: (?= (?! and %s are", s.rest, insensitiveSuffixes)
	}
	s.skip("(")
	return nil
}

// quantifier reads * + ? {n} {n,} {n,m}, the first three with ? for lazy.
func (s *patternScanner) quantifier() error {
	if !s.repeatable {
		return refuse("quantifier %q follows nothing that it can repeat (possessive and doubled quantifiers are not supported)", s.rest[0])
	}
	s.repeatable = false
	if !s.skip("{") {
		s.rest = s.rest[1:]
		s.skip("?")
		return nil
	}
	low, ok := s.number()
	if !ok {
		return refuse("{ is not followed by a count from 0 to 1000 (a literal one must be escaped)")
	}
	if s.skip(",") {
		if high, ok := s.number(); ok && high < low {
			return refuse("{%d,%d} has its counts in the wrong order", low, high)
		}
	}
	if !s.skip("}") {
		return refuse("{%d is not a quantifier of the form {n}, {n,} or {n,m} with counts up to 1000", low)
	}
	return nil
}

func (s *patternScanner) number() (n int, ok bool) {
	for s.rest != "" && s.rest[0] >= '0' && s.rest[0] <= '9' && n <= 1000 {
		n, ok = n*10+int(s.rest[0]-'0'), true
		s.rest = s.rest[1:]
	}
	return n, ok && n <= 1000
}

// escape reads one \ construct; single reports that it stands for one character.
func (s *patternScanner) escape() (single bool, err error) {
	start := s.at()
	s.skip(`\`)
	if s.rest == "" {
		return false, refuse(`the pattern ends in \`)
	}
	c, size := utf8.DecodeRuneInString(s.rest)
	s.rest = s.rest[size:]
	switch {
	case strings.ContainsRune("rnt", c):
		return true, nil
	case c == 's' || c == 'S':
		return false, nil
	case c == 'd' || c == 'D':
		return false, s.widen(start, "Nd", c == 'D')
	case c == 'p' || c == 'P':
		name, err := s.property()
		if err != nil {
			return false, err
		}
		return false, s.widen(start, name, c == 'P')
	case c < utf8.RuneSelf && (unicode.IsPunct(c) || unicode.IsSymbol(c) || c == ' '):
		return true, nil
	}
	return false, refuse(`\%c is not supported`, c)
}

// property reads {Name} of \p{Name}: a Unicode general category or script.
func (s *patternScanner) property() (string, error) {
	name, rest, found := strings.Cut(s.rest, "}")
	if !found || !strings.HasPrefix(name, "{") {
		return "", refuse(`\p must be followed by {Name}`)
	}
	s.rest = rest
	name = name[1:]
	_, script := unicode.Scripts[name]
	_, category := unicode.Categories[name]
	if !script && !(category && strings.ContainsRune("LMNPSZ", rune(name[0])) && name != "LC") {
		return "", refuse(`\p{%.40s} is not supported; categories in L, M, N, P, S, Z and scripts are`, name)
	}
	return name, nil
}

// widen replaces the property escape that starts at start and was just read by
// one that also holds the characters of unicode16.
func (s *patternScanner) widen(start int, name string, negated bool) error {
	added := unicode16[name]
	if len(added) == 0 {
		return nil
	}
	if negated && s.inClass {
		return refuse("%s inside a character class is not supported; write it outside, or [^...]", s.pattern[start:s.at()])
	}
	s.out.WriteString(s.pattern[s.done:start])
	s.done = s.at()
	opening, closing := "[", "]"
	switch {
	case s.inClass:
		opening, closing = "", ""
	case negated:
		opening = "[^"
	}
	s.out.WriteString(opening + `\p{` + name + "}")
	for _, r := range added {
		s.out.WriteString(string(rune(r.Lo)) + "-" + string(rune(r.Hi)))
	}
	s.out.WriteString(closing)
	return nil
}

// class reads [...]. Classes in classes and && are left out: regexp2 has neither.
func (s *patternScanner) class() error {
	s.inClass = true
	defer func() { s.inClass = false }()
	s.skip("[")
	s.skip("^")
	for first := true; ; first = false {
		if s.rest == "" {
			return refuse("a [ is not closed")
		}
		if s.skip("]") {
			if first {
				return refuse("a character class is empty")
			}
			return nil
		}
		low, single, err := s.classItem()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(s.rest, "-") || strings.HasPrefix(s.rest, "-]") {
			continue
		}
		s.skip("-")
		high, singleHigh, err := s.classItem()
		if err != nil {
			return err
		}
		if !single || !singleHigh || high < low {
			return refuse("a range in a character class does not lead from a lower to a higher character")
		}
	}
}

// classItem reads one character or escape of a class.
func (s *patternScanner) classItem() (c rune, single bool, err error) {
	if s.rest == "" {
		return 0, false, refuse("a [ is not closed")
	}
	if s.rest[0] == '[' || strings.HasPrefix(s.rest, "&&") {
		return 0, false, refuse("%.2q inside a character class is not supported (a literal one must be escaped)", s.rest)
	}
	if s.rest[0] != '\\' {
		c, size := utf8.DecodeRuneInString(s.rest)
		s.rest = s.rest[size:]
		return c, true, nil
	}
	before := s.rest
	single, err = s.escape()
	c, _ = utf8.DecodeRuneInString(before[1:])
	if i := strings.IndexRune("rnt", c); i >= 0 {
		c = rune("\r\n\t"[i])
	}
	return c, single, err
}
