package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strconv"
	"strings"

	"smelt/ir"
	"smelt/models/checkpoint"
	"smelt/models/deepseekv4"
)

// weightReport is one parameter of `smelt inspect --weights --json`. Field
// names are stable; README.md explains them.
type weightReport struct {
	Name     string       `json:"name"`
	Layer    *int         `json:"layer"` // null outside layers
	Shape    []int64      `json:"shape"`
	Encoding string       `json:"encoding"` // "mixed" if its views differ
	Integer  bool         `json:"integer"`
	Bytes    int64        `json:"bytes"`
	Stem     string       `json:"stem"` // where the layout looks for it; {n} counts the leading index
	Form     string       `json:"form"` // which of the layout's alternatives, or ""
	Views    []viewReport `json:"views"`
}

// viewReport is a run of the parameter's rows in one stored matrix.
type viewReport struct {
	First       int         `json:"first"` // row of the parameter
	Rows        int         `json:"rows"`
	StoredFirst int         `json:"stored_first"` // row of the stored matrix
	Encoding    string      `json:"encoding"`
	Bytes       int64       `json:"bytes"`
	Skew        int         `json:"skew"` // of the first weight byte, modulo 16
	Weight      planeReport `json:"weight"`
	Scales      any         `json:"scales"` // a plane, or null
	Biases      any         `json:"biases"` // a plane, or null
}

// planeReport is one stored tensor.
type planeReport struct {
	Tensor string  `json:"tensor"`
	File   string  `json:"file"` // in the checkpoint's folder
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Offset int64   `json:"offset"` // of the first byte in the file
	Bytes  int64   `json:"bytes"`
}
