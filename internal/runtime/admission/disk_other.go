//go:build !linux && !darwin

package admission

import (
	"errors"
	"os"
)

// uncached knows no way.
func uncached(*os.File, int64, int64) error { return errors.ErrUnsupported }
