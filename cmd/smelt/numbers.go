package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/exp/constraints"

	"smelt.example/smelt/internal/message"
)

// numeric lists the types of flags.
type numeric interface {
	constraints.Integer | constraints.Float
}

// limits is the range of a flag's numbers. Flags are checked as they are parsed,
// so before any file is opened.
type limits[T numeric] struct {
	least, most T
	above       bool // least itself is outside
	// words, if not empty, say what the range is.
	words string
}

// from is the range from one number to another.
func from[T numeric](least, most T) limits[T] { return limits[T]{least: least, most: most} }

func (s limits[T]) holds(v T) bool {
	// Written so that NaN is outside.
	return v >= s.least && v <= s.most && !(s.above && v == s.least)
}

// String is the range for messages and --help.
func (s limits[T]) String() string {
	low := fmt.Sprintf("%v to", s.least)
	if s.above {
		low = fmt.Sprintf("above %v, to", s.least)
	}
	text := fmt.Sprintf("%s %v", low, s.most)
	if s.words != "" {
		text += " (" + s.words + ")"
	}
	return text
}

// bounded is a flag of numbers; a test demands that every such flag is one.
type bounded interface {
	pflag.Value
	// bounds are the least and the greatest number, and whether the least is outside.
	bounds() (least, most string, above bool)
}

// number is a flag of one number.
type number[T numeric] struct {
	at     *T
	limits limits[T]
	kind   string // of pflag, for --help
	what   string // "a whole number"
	parse  func(string) (T, error)
}

// Set reads the number.
func (n *number[T]) Set(s string) error {
	v, err := n.parse(s)
	if err != nil || !n.limits.holds(v) {
		return fmt.Errorf("expected %s, %s", n.what, n.limits)
	}
	*n.at = v
	return nil
}

// String is the number.
func (n *number[T]) String() string {
	if n.at == nil { // pflag asks a zero value
		return ""
	}
	return fmt.Sprint(*n.at)
}

// Type is the kind of number, for --help.
func (n *number[T]) Type() string { return n.kind }

func (n *number[T]) bounds() (least, most string, above bool) {
	return fmt.Sprint(n.limits.least), fmt.Sprint(n.limits.most), n.limits.above
}

func wholeNumber(s string) (int, error) {
	v, err := strconv.ParseInt(s, 0, strconv.IntSize)
	return int(v), err
}

// intFlag makes a flag of one whole number; --help tells the range.
func intFlag(f *pflag.FlagSet, at *int, name, short string, value int, s limits[int], usage string) {
	*at = value
	f.VarP(&number[int]{at, s, "int", "a whole number", wholeNumber}, name, short, fmt.Sprintf("%s; %s", usage, s))
}

// uint64Flag makes a flag of any whole number of 64 bits.
func uint64Flag(f *pflag.FlagSet, at *uint64, name string, value uint64, usage string) {
	*at = value
	parse := func(s string) (uint64, error) { return strconv.ParseUint(s, 0, 64) }
	f.Var(&number[uint64]{at, from(uint64(0), math.MaxUint64), "uint64", "a whole number", parse}, name, usage)
}

// floatFlag makes a flag of one number.
func floatFlag(f *pflag.FlagSet, at *float64, name string, value float64, s limits[float64], usage string) {
	*at = value
	parse := func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
	f.Var(&number[float64]{at, s, "float64", "a number", parse}, name, fmt.Sprintf("%s; %s", usage, s))
}

// maxNumbers is how many numbers a list can have.
const maxNumbers = 64

// numbers is a flag of several whole numbers, separated by commas or given one by
// one. The first given take the place of the default.
type numbers struct {
	at     *[]int
	limits limits[int]
	given  bool
}

// intsFlag makes a flag of whole numbers.
func intsFlag(f *pflag.FlagSet, at *[]int, name string, value []int, s limits[int], usage string) {
	*at = value
	f.Var(&numbers{at: at, limits: s}, name, fmt.Sprintf("%s; %s", usage, s))
}

// Set reads numbers.
func (n *numbers) Set(s string) error {
	var list []int
	if n.given {
		list = *n.at
	}
	for word := range strings.SplitSeq(s, ",") {
		v, err := wholeNumber(strings.TrimSpace(word))
		if err != nil || !n.limits.holds(v) {
			return fmt.Errorf("expected whole numbers with commas between them, each %s, not %s", n.limits, message.Quote(word))
		}
		if list = append(list, v); len(list) > maxNumbers {
			return fmt.Errorf("expected at most %d numbers", maxNumbers)
		}
	}
	*n.at, n.given = list, true
	return nil
}

// String is the list.
func (n *numbers) String() string {
	if n.at == nil || len(*n.at) == 0 {
		return ""
	}
	words := make([]string, len(*n.at))
	for i, v := range *n.at {
		words[i] = strconv.Itoa(v)
	}
	return strings.Join(words, ",")
}

// Type is the kind of numbers, for --help.
func (n *numbers) Type() string { return "ints" }

func (n *numbers) bounds() (least, most string, above bool) {
	return strconv.Itoa(n.limits.least), strconv.Itoa(n.limits.most), n.limits.above
}

// flagError is the error of a command line that cannot be parsed.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		cause := invalid.Unwrap().Error()
		if invalid.GetFlag().Value.Type() == "bool" {
			cause = "expected true or false"
		}
		err = fmt.Errorf("--%s: found %s, %s", invalid.GetFlag().Name, message.Quote(invalid.GetValue()), message.Line(cause, 400))
	}
	return fmt.Errorf("%s%s (see %s --help)", message.Line(err.Error(), 800), meantFlag(cmd, err), cmd.CommandPath())
}
