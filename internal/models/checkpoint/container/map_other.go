//go:build !linux && !darwin

package container

import (
	"errors"
	"os"
	"runtime"
)

func mapFile(*os.File, int64) ([]byte, error) {
	return nil, errors.New("mapping files is supported on Linux and macOS only, not on " + runtime.GOOS)
}

func mapAnonymous(int64) ([]byte, error) {
	return nil, errors.New("weights in memory are supported on Linux and macOS only, not on " + runtime.GOOS)
}

func stampOf(f *os.File) (stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	return stampFrom(info), nil
}

func readAhead([]byte) {}

func unmap([]byte) error { return nil }
