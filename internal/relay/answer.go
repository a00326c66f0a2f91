package relay

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// answer is the first line that Pipe writes: how the connection went that it was asked for.
type answer struct {
	Problem string `json:"problem,omitempty"`
	// Errno is what the kernel said, 0 if it said nothing in time.
	Errno   syscall.Errno `json:"errno,omitempty"`
	Timeout bool          `json:"timeout,omitempty"`
}

// Pipe connects to an address, says in a line whether it could, and then hands on what comes: it is the far end of Through.
func Pipe(ctx context.Context, address string, in io.Reader, out io.Writer) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	a := answer{}
	if err != nil {
		a.Problem = err.Error()
		_ = errors.As(err, &a.Errno)
		timeout := net.Error(nil)
		a.Timeout = errors.As(err, &timeout) && timeout.Timeout()
	}
	if e := json.NewEncoder(out).Encode(a); e != nil || err != nil {
		return e // who asked knows the rest
	}
	return Streams(conn, in, out)
}

// Streams hands a connection on by two streams until the other side has said all, and closes it.
func Streams(conn net.Conn, in io.Reader, out io.Writer) error {
	defer func() { _ = conn.Close() }()
	go func() {
		_, _ = io.Copy(conn, in)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the other side may have something left to say
		}
	}()
	_, err := io.Copy(out, conn)
	return err
}

// Through is a connection by way of a Pipe that runs elsewhere: in and out are its. A refusal there is the error that it would be here.
// close ends it.
func Through(in io.WriteCloser, out io.Reader, close func()) (net.Conn, error) {
	lines := bufio.NewReader(out)
	line, err := lines.ReadBytes('\n')
	var a answer
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err == nil && a.Problem != "" {
		err = a.err()
	}
	if err != nil {
		close()
		return nil, err
	}
	here, there := net.Pipe()
	go func() {
		_, _ = io.Copy(in, there)
		_ = in.Close()
	}()
	go func() {
		_, _ = io.Copy(there, lines)
		_ = there.Close()
		close()
	}()
	return here, nil
}

func (a answer) err() error {
	switch {
	case a.Errno != 0:
		return fmt.Errorf("%s: %w", a.Problem, a.Errno)
	case a.Timeout:
		return fmt.Errorf("%s: %w", a.Problem, os.ErrDeadlineExceeded)
	}
	return errors.New(a.Problem)
}
