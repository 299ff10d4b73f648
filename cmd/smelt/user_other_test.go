//go:build !linux

package main

import (
	"os"
	"testing"
)

// asOrdinaryUser runs f with an ordinary user's rights to files. Only Linux
// gives one thread another user's.
func asOrdinaryUser(t *testing.T, f func()) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere: run the tests as another user")
	}
	f()
}
