package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/relay"
	"ashlar.dev/ashlar/internal/unit"
)

// Exec runs a command on a machine. Its arguments and its environment may be secret, so that they go by standard input, and the words that
// everybody on the machine can see are the same for all.
func (p *Provider) Exec(ctx context.Context, name string, e provider.Exec) error {
	if len(e.Args) == 0 {
		return fmt.Errorf("machine %s: no command to run", name)
	}
	session, err := p.session(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }() // it has ended
	script := scriptOf(e)
	restore := func() {}
	if e.TTY {
		if restore, err = terminal(session); err != nil {
			return fmt.Errorf("machine %s: %w", name, err)
		}
	} else {
		session.Stdout, session.Stderr = e.Stdout, e.Stderr
	}
	defer restore()
	stdin := e.Stdin
	if e.TTY {
		stdin, session.Stdout, session.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	in, err := session.StdinPipe()
	if err != nil {
		return fmt.Errorf("machine %s: %w", name, err)
	}
	// Byte for byte, so that what follows is left for the command.
	if err := session.Start(fmt.Sprintf(`eval "$(dd bs=1 count=%d 2>/dev/null)"`, len(script))); err != nil {
		return fmt.Errorf("machine %s: %s: %w", name, e.Args[0], err)
	}
	go func() {
		_, err := io.WriteString(in, script)
		if err == nil && stdin != nil {
			_, err = io.Copy(in, stdin)
		}
		if err == nil || stdin != nil {
			_ = in.Close() // the command may have ended before
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- exitOf(session.Wait()) }()
	select {
	case err = <-ended:
	case <-ctx.Done(): // sshd waits for what runs, we do not
		_ = session.Signal(ssh.SIGTERM)
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("machine %s: %s: %w", name, e.Args[0], err)
	}
	return nil
}

func (p *Provider) session(ctx context.Context, name string) (*ssh.Session, error) {
	all, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(m provider.Machine) bool { return m.Name == name })
	switch {
	case i < 0:
		return nil, fmt.Errorf("there is no machine %s: `ashlar status` lists them", name)
	case all[i].State != provider.Running:
		return nil, fmt.Errorf("machine %s is %s, and what is on its disk cannot be seen from here: power it on with `ashlar up`: %w",
			name, all[i].State, errors.ErrUnsupported)
	}
	c, err := p.shell(ctx, all[i], false)
	if err != nil {
		return nil, err
	}
	s, err := c.NewSession()
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", name, err)
	}
	return s, nil
}

// scriptOf is a command in the words of a shell.
func scriptOf(e provider.Exec) string {
	var b strings.Builder
	for _, v := range e.Env {
		if key, value, ok := strings.Cut(v, "="); ok {
			fmt.Fprintf(&b, "export %s=%s\n", key, quoted(value))
		}
	}
	b.WriteString("exec")
	for _, a := range e.Args {
		b.WriteString(" " + quoted(a))
	}
	return b.String() + "\n"
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// terminal hands the caller's through.
func terminal(s *ssh.Session) (restore func(), err error) {
	fd := int(os.Stdin.Fd())
	width, height, err := term.GetSize(fd)
	if err != nil {
		return nil, fmt.Errorf("this is no terminal: %w", err)
	}
	if err := s.RequestPty(os.Getenv("TERM"), height, width, ssh.TerminalModes{}); err != nil {
		return nil, err
	}
	before, err := term.MakeRaw(fd)
	return func() { _ = term.Restore(fd, before) }, err // the terminal goes with the program
}

// exitOf makes an exit of a command there the error that it would be here: callers look for os/exec's own, which only it can make.
func exitOf(err error) error {
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	status := exit.ExitStatus()
	if status == 0 {
		status = 255 // a signal ended it
	}
	return exec.Command("/bin/sh", "-c", fmt.Sprintf("exit %d", status)).Run()
}

// Exit codes of the scripts below.
const (
	exitNone     = 44
	exitNoFile   = 45
	readScript   = `[ -e "$1" ] || exit 44; [ -f "$1" ] || exit 45; exec cat -- "$1"`
	writeScript  = `set -e; umask 077; mkdir -p -m 755 -- "$(dirname -- "$1")"; t=$(mktemp -- "$(dirname -- "$1")/.ashlar-XXXXXXXX"); ` + writeScript2
	writeScript2 = `trap 'rm -f -- "$t"' EXIT; cat > "$t"; chmod "$2" "$t"; sync "$t"; mv -T -- "$t" "$1"; trap - EXIT; sync "$(dirname -- "$1")"`
)

// Read returns a file of a running machine.
func (p *Provider) Read(ctx context.Context, name, file string) ([]byte, error) {
	if !path.IsAbs(file) {
		return nil, fmt.Errorf("machine %s: read %s: not an absolute path", name, file)
	}
	var out, said bytes.Buffer
	err := p.Exec(ctx, name, provider.Exec{Args: []string{"/bin/sh", "-c", readScript, "sh", file}, Stdout: &out, Stderr: &said})
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		switch exit.ExitCode() {
		case exitNone:
			return nil, fmt.Errorf("machine %s: read %s: %w", name, file, fs.ErrNotExist)
		case exitNoFile:
			return nil, fmt.Errorf("machine %s: read %s: not a regular file", name, file)
		}
		return nil, fmt.Errorf("machine %s: read %s: %s: %w", name, file, strings.TrimSpace(said.String()), err)
	}
	return out.Bytes(), err
}

// Write puts files on a running machine, each atomically.
func (p *Provider) Write(ctx context.Context, name string, files []provider.File) error {
	for _, f := range files {
		if !path.IsAbs(f.Path) {
			return fmt.Errorf("machine %s: write %s: not an absolute path", name, f.Path)
		}
		var said bytes.Buffer
		args := []string{"/bin/sh", "-c", writeScript, "sh", f.Path, fmt.Sprintf("%o", f.Mode&0o777)}
		if err := p.Exec(ctx, name, provider.Exec{Args: args, Stdin: bytes.NewReader(f.Content), Stdout: io.Discard, Stderr: &said}); err != nil {
			return fmt.Errorf("write %s: %s: %w", f.Path, strings.TrimSpace(said.String()), err)
		}
	}
	return nil
}

// Dial opens a connection from where the operator comes from, which is the bastion; from a machine; or from here, as who is trusted.
func (p *Provider) Dial(ctx context.Context, vantage, network, address string) (net.Conn, error) {
	switch vantage {
	case provider.FromOperator:
		return p.throughBastion(ctx, network, address)
	case provider.FromTrusted:
		return new(net.Dialer).DialContext(ctx, network, address)
	case provider.FromInternet:
		return nil, fmt.Errorf("this host is one that is trusted, so that what nobody may reach cannot be tried from here; "+
			"`ashlar exposure` proves it from the plan: %w", errors.ErrUnsupported)
	}
	return p.dialFrom(ctx, vantage, network, address)
}

// pipe is what hands a connection on, on a machine: its sshd forwards nothing.
var pipe = []string{unit.Bin + "/ashlar", "probe", "pipe"}

// dialFrom opens a connection from a machine.
func (p *Provider) dialFrom(ctx context.Context, machine, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" {
		return nil, fmt.Errorf("machine %s: only TCP connections can be opened from it, not %s: %w", machine, network, errors.ErrUnsupported)
	}
	session, err := p.session(ctx, machine)
	if err != nil {
		return nil, err
	}
	end := func() { _ = session.Close() } // it has ended, or is of no use
	in, err := session.StdinPipe()
	if err == nil {
		var out io.Reader
		if out, err = session.StdoutPipe(); err == nil {
			err = session.Start(strings.TrimSpace(scriptOf(provider.Exec{Args: append(slices.Clone(pipe), address)})))
		}
		if err == nil {
			stop := context.AfterFunc(ctx, end) // until it is known whether there is a connection
			defer stop()
			conn, problem := relay.Through(in, out, end)
			if problem == nil {
				return conn, nil
			}
			return nil, fmt.Errorf("from machine %s: %w", machine, errors.Join(problem, ctx.Err()))
		}
	}
	end()
	return nil, fmt.Errorf("machine %s: %w", machine, err)
}

// Listen is what no machine on AWS does for whoever comes in by ssh.
func (p *Provider) Listen(_ context.Context, vantage, _, _ string) (net.Listener, error) {
	return nil, fmt.Errorf("nothing can be listened for at %s on AWS, where sshd forwards nothing; run it there by `ashlar exec`: %w", vantage, errors.ErrUnsupported)
}
