package main

import (
	"context"
	"fmt"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/models"
)

// BenchmarkDevices compares the processor's kernels with the evaluator: tokens a
// second of a prompt of 512, and of decode steps with 1 to 16 rows at 512 tokens:
//
//	go test ./examples/storyteller -run - -bench Devices -benchtime 20x
func BenchmarkDevices(b *testing.B) {
	m, err := models.Open("checkpoint", models.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	const context, chunk, slots = 1024, 128, 16
	devices := map[string]func(b *testing.B) device.Device{
		"reference": func(b *testing.B) device.Device {
			d, err := reference.New(m.Graph, m.Weights)
			if err != nil {
				b.Fatal(err)
			}
			return d
		},
		"cpu": func(b *testing.B) device.Device {
			l, err := jit.Open("")
			if err != nil {
				b.Skip(err)
			}
			source := bundle.Source{Name: "storyteller", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}
			compiled, _, err := bundle.Compile(source, bundle.Options{Context: context, Chunk: chunk, Slots: slots})
			if err != nil {
				b.Fatal(err)
			}
			d, err := cpu.Open(compiled, m.Checkpoint, cpu.Options{LLVM: l, Cache: jit.UserCache()})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { d.Close() })
			return d
		},
	}
	for _, name := range []string{"reference", "cpu"} {
		b.Run(name, func(b *testing.B) {
			host, err := session.New(devices[name](b), session.Options{Slots: slots, Chunk: chunk, Context: context})
			if err != nil {
				b.Fatal(err)
			}
			b.Run("prefill", func(b *testing.B) { benchmarkPrefill(b, host) })
			all := []int{1, 2, 4, 8, 16}
			if name == "reference" {
				all = all[:1] // the prompts of more take it minutes
			}
			for _, rows := range all {
				b.Run(fmt.Sprintf("decode-%d-rows", rows), func(b *testing.B) { benchmarkDecode(b, host, rows) })
			}
		})
	}
}

// prompt is n tokens of the model's.
func prompt(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(300 + i*37%3000)
	}
	return out
}

func benchmarkPrefill(b *testing.B, host *session.Session) {
	const n = 512
	for range b.N {
		q, err := host.Open()
		if err != nil {
			b.Fatal(err)
		}
		if err := q.Extend(context.Background(), prompt(n), nil); err != nil {
			b.Fatal(err)
		}
		q.Close()
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "tokens/s")
}

func benchmarkDecode(b *testing.B, host *session.Session, rows int) {
	var next []session.Next
	for range rows {
		q, err := host.Open()
		if err != nil {
			b.Fatal(err)
		}
		defer q.Close()
		if err := q.Extend(context.Background(), prompt(512), nil); err != nil {
			b.Fatal(err)
		}
		next = append(next, session.Next{Sequence: q, Token: 779})
	}
	b.ResetTimer()
	for i := range b.N {
		if i == 500 {
			b.Fatal("more steps than the context holds; -benchtime 100x")
		}
		if err := host.Decode(next); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(rows)/b.Elapsed().Seconds(), "tokens/s")
}
