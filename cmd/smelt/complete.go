package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/checkpoint/formats"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/ir/text"
	"smelt.example/smelt/passes"
)

// What shells complete. Cobra asks with `smelt __complete`, once for each press of the
// key; nothing is printed but the candidates.

// completeCheckpoint completes a command's one argument: folders, files of
// weights, files with more extensions, and ids of the Hugging Face cache.
func completeCheckpoint(more ...string) cobra.CompletionFunc {
	var extensions []string
	for _, c := range formats.All() {
		extensions = append(extensions, strings.TrimPrefix(c.Extension, "."))
	}
	extensions = append(extensions, more...)
	return func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if ids := cachedIDs(typed); len(ids) > 0 {
			return ids, cobra.ShellCompDirectiveNoFileComp
		}
		return extensions, cobra.ShellCompDirectiveFilterFileExt
	}
}

// completeFolder completes a command's one argument to folders.
func completeFolder(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completing is a flag's completion by what a function returns.
func completing(cmd *cobra.Command, flag string, values func(args []string) []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		return begun(values(args), typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	})
	if err != nil {
		panic(err) // the command lacks the flag, or has a completion of it
	}
}

// begun are the words that begin as typed.
func begun(words []string, typed string) (list []string) {
	for _, w := range words {
		if strings.HasPrefix(w, typed) {
			list = append(list, w)
		}
	}
	return list
}

// completeWords completes a flag's value to one of some words.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	completing(cmd, flag, func([]string) []string { return words })
}

// completeDevice completes --device to the names of a table, with what each is.
func completeDevice(cmd *cobra.Command, t devices.Table, more ...string) {
	for _, k := range t {
		more = append(more, k.Name+"\t"+k.Doc)
	}
	completeWords(cmd, "device", more...)
}

// autoDevice is --device auto with what it does.
const autoDevice = devices.Auto + "\tthe first that works and is not slow"

// completeNumbers has no files offered as the values of flags that take numbers, in a
// command and those below it.
func completeNumbers(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, number := f.Value.(bounded); number {
			completeWords(cmd, f.Name)
		}
	})
	for _, sub := range cmd.Commands() {
		completeNumbers(sub)
	}
}

// completeList completes the last of values that commas part, to one of some words that
// is not among those before it.
func completeList(cmd *cobra.Command, flag string, words ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndex(typed, ",")+1]
		var list []string
		for _, w := range words {
			if !slices.Contains(strings.Split(before, ","), w) {
				list = append(list, before+w)
			}
		}
		return begun(list, typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
	})
	if err != nil {
		panic(err) // as in completing
	}
}

// completeKernels completes --kernel, in every command that has it, to the kernels of the
// bundle that the command names.
func completeKernels(c *cobra.Command) {
	if c.Flags().Lookup("kernel") != nil {
		completing(c, "kernel", kernelNames)
	}
	for _, sub := range c.Commands() {
		completeKernels(sub)
	}
}

// kernelNames are the kernels of a bundle that is the first argument.
func kernelNames(args []string) (names []string) {
	if len(args) == 0 || !bundle.IsBundle(args[0]) {
		return nil
	}
	b, err := bundle.Read(args[0])
	if err != nil {
		return nil // the command will say so
	}
	for _, k := range b.Plan.Kernels {
		names = append(names, k.Name)
	}
	return names
}

// stageNames are what --ir takes of a bundle, with what each is.
func stageNames() []string {
	// The stages do not depend on the module, so that of the smallest one are all.
	m, err := text.Parse("none", "module @none\nsymbol T = rows\ninput %token : tensor<T x i32>\nreturn %token\n")
	if err != nil {
		return nil
	}
	r, err := passes.Run(m, passes.Options{Lean: true, Formats: passes.Formats{Rows: "f32", Keys: "f32"}})
	if err != nil {
		return nil
	}
	list := []string{"list\tthe names of the stages"}
	for _, s := range r.Stages {
		list = append(list, s.Name+"\t"+s.Doc)
	}
	return append(list, stagePlan+"\tthe module that was lowered to kernels")
}
