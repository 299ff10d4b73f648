package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smelt.example/smelt/internal/message"
)

// otherWords are the words by which other programs call what a command does.
var otherWords = map[string]string{
	"talk": "chat", "generate": "run", "infer": "run", "complete": "run",
	"build": "compile", "convert": "compile", "show": "inspect", "info": "inspect", "list": "inspect",
	"perplexity": "eval", "ppl": "eval", "encode": "tokenize", "decode": "tokenize", "check": "verify", "benchmark": "bench",
}

// unknownCommand is cobra's error of a word that is no command.
var unknownCommand = regexp.MustCompile(`^unknown command ("(?:[^"\\]|\\.)*") for "([^"]*)"$`)

// meantCommand adds to an error about an unknown command which one was probably meant.
func meantCommand(root *cobra.Command, err error) error {
	m := unknownCommand.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	word, bad := strconv.Unquote(m[1])
	under, _, missing := root.Find(strings.Fields(m[2])[1:])
	if bad != nil || missing != nil {
		return err
	}
	return unknownWord(under, word)
}

// unknownWord is the error of a word that is no command of another one's.
func unknownWord(under *cobra.Command, word string) error {
	var names []string
	for _, c := range under.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	meant := message.Meant(word, names)
	if other := otherWords[strings.ToLower(word)]; other != "" && !under.HasParent() {
		meant = "; did you mean " + other + "?"
	}
	return fmt.Errorf("unknown command %s of %s%s (see %s --help)", message.Quote(word), under.CommandPath(), meant, under.CommandPath())
}

// meantFlag says which flag of a command was probably meant by one that it has not.
func meantFlag(cmd *cobra.Command, err error) string {
	found, is := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !is {
		return ""
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if name := message.Nearest(strings.ToLower(strings.ReplaceAll(found, "_", "-")), names); name != "" {
		return "; did you mean --" + name + "?"
	}
	return ""
}

// oneOfCommands is the argument rule of a command that only has others.
func oneOfCommands(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownWord(cmd, args[0])
	}
	return nil
}

// strict makes the commands that cobra adds refuse what is no command: help and
// completion would print their help.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args = oneOfCommands
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		panic(err) // it was made just now
	}
	print := help.Run
	help.Run = nil
	help.RunE = func(cmd *cobra.Command, args []string) error {
		under := root
		for _, word := range args {
			next, rest, err := under.Find([]string{word})
			if err != nil || next == under || len(rest) > 0 {
				return unknownWord(under, word)
			}
			under = next
		}
		print(cmd, args)
		return nil
	}
}
