package output

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// writeDirect writes to what is no file: a pipe, a terminal, a device.
func (f *File) writeDirect(ctx context.Context, at place, write func(io.Writer) error) error {
	file, err := f.open(ctx, at)
	if err != nil {
		return err
	}
	// A pipe that nobody empties blocks; a deadline that has passed ends that.
	stop := context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Unix(1, 0)) }) // not everything has deadlines
	defer stop()
	err = fill(file, f.path, write)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.Join(ctx.Err(), file.Close())
	}
	if closed := file.Close(); err == nil && closed != nil {
		err = f.refuse("%s: %w", f.path, plain(closed))
	}
	return err
}

// open opens the place, which of a FIFO takes until somebody reads it.
func (f *File) open(ctx context.Context, at place) (*os.File, error) {
	type opened struct {
		file *os.File
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		var o opened
		if at.descriptor >= 0 {
			o.file, o.err = openDescriptor(at.descriptor, f.path)
		} else {
			o.file, o.err = openDirect(at)
		}
		done <- o
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err() // what the system still waits for ends with the process
	case o := <-done:
		if o.err != nil {
			return nil, f.refuse("%s: %w", f.path, plain(o.err))
		}
		if at.descriptor >= 0 {
			return o.file, nil
		}
		// The name may lead to a file by now, which is not to be written over.
		info, err := o.file.Stat()
		if err != nil || info.Mode().IsRegular() {
			err = f.refuse("%s has become a file meanwhile; try again", f.path)
			return nil, errors.Join(err, o.file.Close())
		}
		return o.file, nil
	}
}
