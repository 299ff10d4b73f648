package models_test

import (
	"fmt"
	"log"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/models"
)

func ExampleOpen() {
	m, err := models.Open("../internal/models/deepseekv4/testdata/fixtures/a-bf16", models.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	fmt.Println(m.Architecture, "with", m.Layers, "layers, stored under", m.Binding.Layout)
	prompt, err := chat.Text(m.Chat, []chat.Message{{Role: chat.RoleUser, Content: "Hi!"}}, chat.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(prompt)
	answer, err := chat.Parse(m.Chat, []chat.Segment{{Text: "A greeting.</think>Hello."}}, chat.ParseOptions{Stage: chat.InReasoning, Spelling: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q after %q\n", answer.Content, answer.Reasoning)
	// Output:
	// DeepSeek-V4 with 3 layers, stored under official names
	// <｜begin▁of▁sentence｜><｜User｜>Hi!<｜Assistant｜></think>
	// "Hello." after "A greeting."
}
