//go:build !linux && !darwin

package main

// peakMemory is not known here.
func peakMemory() int64 { return 0 }

// processorName is not known here.
func processorName() string { return "" }

// What doctor asks for is not known here.
func systemName() string   { return "" }
func computerName() string { return "" }
func kernelName() string   { return "" }
