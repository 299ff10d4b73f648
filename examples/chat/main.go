// Command chat talks with a model, a line at a time.
//
//	go run ./examples/chat CHECKPOINT
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"smelt.example/smelt"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: chat CHECKPOINT|BUNDLE")
	}
	ctx := context.Background()
	m, err := smelt.Open(ctx, os.Args[1], smelt.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if err := chat(ctx, m, smelt.Request{MaxTokens: 1000}, os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// chat answers line after line as request says, and remembers what was said.
func chat(ctx context.Context, m *smelt.Model, request smelt.Request, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for fmt.Fprint(out, "> "); lines.Scan(); fmt.Fprint(out, "\n> ") {
		request.Messages = append(request.Messages, smelt.Message{Role: smelt.RoleUser, Content: lines.Text()})
		g, err := m.Generate(ctx, request)
		if err != nil {
			return err
		}
		for text, err := range g.Text() {
			if err != nil {
				return err
			}
			fmt.Fprint(out, text)
		}
		answer, err := g.Wait()
		if err != nil {
			return err
		}
		request.Messages = append(request.Messages, answer.Message)
	}
	return lines.Err()
}
