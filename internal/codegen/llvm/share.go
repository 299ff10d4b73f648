package llvm

import (
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"

	"smelt.example/smelt/internal/codegen/kernel"
)

//go:embed *.go
var sources embed.FS

// Canonical strips a kernel of all that its machine code does not depend on: explanations,
// and the lengths, and so the places, of the step block's arrays.
// Its name stands for Module's text: a hash of the rest and of this package's own
// source. Kernels with one name there are one function.
func Canonical(k *kernel.Kernel, register int) *kernel.Kernel {
	c := *k
	c.Name, c.Doc, c.Schedule.Settings, c.Step = "kernel", nil, nil, &kernel.StepLayout{}
	for _, f := range stepFields(k) {
		f.Len = min(f.Len, 1)
		c.Step.Fields = append(c.Step.Fields, f)
	}
	hash := sha256.New()
	hash.Write(ownSource())
	fmt.Fprintf(hash, "register %d\n%s", register, kernel.Print(&c))
	c.Name = "kernel_" + hex.EncodeToString(hash.Sum(nil))
	return &c
}

// ownSource is a hash of this package's source.
var ownSource = sync.OnceValue(func() []byte {
	hash := sha256.New()
	files, err := sources.ReadDir(".")
	for _, f := range files {
		var data []byte
		if data, err = sources.ReadFile(f.Name()); err != nil {
			break
		}
		hash.Write(data)
	}
	if err != nil {
		panic("llvm: its embedded source cannot be read: " + err.Error())
	}
	return hash.Sum(nil)
})

// stepFields are the fields of the step block that a kernel reads.
func stepFields(k *kernel.Kernel) []kernel.StepField {
	read := map[string]bool{}
	kernel.Exprs(k.Body, func(e *kernel.Expr) {
		if e.Op == kernel.OpStep || e.Op == kernel.OpLoad && e.Space == kernel.StepBlock {
			read[e.Name] = true
		}
	})
	var fields []kernel.StepField
	for _, f := range k.Step.Fields {
		if read[f.Name] {
			fields = append(fields, f)
		}
	}
	return fields
}

// StepTable is the step argument of a kernel's call: for each field it reads, 8 bytes
// with the field's address in a step block at the given address.
func StepTable(k *kernel.Kernel, block uint64) []byte {
	var table []byte
	for _, f := range stepFields(k) {
		table = binary.LittleEndian.AppendUint64(table, block+uint64(k.Step.Offset(f.Name)))
	}
	return table
}
