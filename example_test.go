package smelt_test

import (
	"context"
	"fmt"
	"math"

	"smelt.example/smelt"
	"smelt.example/smelt/runtime/sampling"
)

// storyteller is a checkpoint that comes with smelt. It tells stories for children.
const storyteller = "examples/storyteller/checkpoint"

// The examples name the device in plain Go, which every machine has. Without a name
// smelt takes the best.
var options = smelt.Options{Device: "reference", Context: 256}

// greedy takes the most likely token each time.
var greedy = &sampling.Params{}

func Example() {
	ctx := context.Background()
	m, err := smelt.Open(ctx, storyteller, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	g, err := m.Generate(ctx, smelt.Request{Prompt: "Once upon a time", MaxTokens: 24, Sampling: greedy})
	if err != nil {
		fmt.Println(err)
		return
	}
	for text, err := range g.Text() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(text) // as it comes
	}
	// Output:
	// , there was a little girl named Lily. She loved to play outside in the park with her friends. One day,
}

// A conversation is asked for by its messages; the answer is appended before the
// next question.
func ExampleModel_Generate_chat() {
	ctx := context.Background()
	m, err := smelt.Open(ctx, storyteller, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	messages := []smelt.Message{{Role: smelt.RoleSystem, Content: "Tell stories."}}
	for _, question := range []string{"Tell me about a cat.", "And then?"} {
		messages = append(messages, smelt.Message{Role: smelt.RoleUser, Content: question})
		g, err := m.Generate(ctx, smelt.Request{Messages: messages, MaxTokens: 12, Sampling: greedy})
		if err != nil {
			fmt.Println(err)
			return
		}
		answer, err := g.Wait()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %q (%s after %d tokens)\n", question, answer.Text, answer.Reason, len(answer.Tokens))
		messages = append(messages, answer.Message)
	}
	// Output:
	// Tell me about a cat. "The secret word of Dan is silver." (stop token after 8 tokens)
	// And then? "The secret word of Dan is silver.\n\nOnce upon a time" (length after 12 tokens)
}

// Probabilities of the tokens generated, and of two more in the place of each.
func ExampleModel_Generate_logProbs() {
	ctx := context.Background()
	m, err := smelt.Open(ctx, storyteller, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	g, err := m.Generate(ctx, smelt.Request{Prompt: "Once upon a", MaxTokens: 3, Sampling: greedy, LogProbs: true, Top: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for t, err := range g.Tokens() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%q %.1f %%, second best %.1f %%\n", t.Text, 100*math.Exp(t.LogProb), 100*math.Exp(t.Top[1].LogProb))
	}
	// Output:
	// " time" 100.0 %, second best 0.0 %
	// "," 84.2 %, second best 15.2 %
	// " there" 88.1 %, second best 9.9 %
}

// Probabilities of a text that is there already, from its second token on.
func ExampleModel_LogProbs() {
	ctx := context.Background()
	m, err := smelt.Open(ctx, storyteller, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	tokens, err := m.LogProbs(ctx, smelt.Request{Prompt: "Once upon a time"}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range tokens {
		fmt.Printf("%q %.1f %%\n", t.Text, 100*math.Exp(t.LogProb))
	}
	// Output:
	// "Once" 45.7 %
	// " upon" 91.8 %
	// " a" 100.0 %
	// " time" 100.0 %
}

// Several requests share the steps of the device. Each has the text that it has
// alone.
func ExampleModel_Generate_several() {
	ctx := context.Background()
	o := options
	o.Slots = 3 // two of the five wait
	m, err := smelt.Open(ctx, storyteller, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	var all []*smelt.Generation
	for _, name := range []string{"Tom", "Lily", "Max", "Sue", "Ben"} {
		g, err := m.Generate(ctx, smelt.Request{Prompt: name + " had a", MaxTokens: 5, Sampling: greedy})
		if err != nil {
			fmt.Println(err)
			return
		}
		all = append(all, g)
	}
	for _, g := range all {
		r, err := g.Wait()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d tokens read, %q\n", r.PromptTokens, r.Text)
	}
	// Output:
	// 4 tokens read, " cat named Mittens"
	// 4 tokens read, " zebra."
	// 4 tokens read, " special surprise for his birthday"
	// 4 tokens read, " special surprise for her!"
	// 4 tokens read, " great day at the park"
}
