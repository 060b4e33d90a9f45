package loadtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

type kindErr struct{ kind string }

func (e kindErr) Error() string { return "too many words about " + e.kind }
func (e kindErr) Kind() string  { return e.kind }

func TestErrorKinds(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	read := func(errno syscall.Errno) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", errno)}
	}
	for _, test := range []struct {
		err       error
		want      string
		generator bool
	}{
		{kindErr{"RCPT 451 4.7.1"}, "RCPT 451 4.7.1", false},
		{fmt.Errorf("wrapped: %w", kindErr{"timeout DATA"}), "timeout DATA", false},
		{dial(syscall.ECONNREFUSED), "connect: connection refused", false},
		{dial(syscall.ECONNRESET), "connect: connection reset", false},
		{dial(syscall.EADDRNOTAVAIL), "generator: EADDRNOTAVAIL", true},
		{dial(syscall.EMFILE), "generator: EMFILE", true},
		{fmt.Errorf("smtp: %w", dial(syscall.ENFILE)), "generator: ENFILE", true},
		{read(syscall.ECONNRESET), "connection reset", false},
		{read(syscall.EPIPE), "broken pipe", false},
		{read(syscall.ENOBUFS), "generator: ENOBUFS", true},
		{syscall.ENOMEM, "generator: ENOMEM", true},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, "connect: timeout", false},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "timeout", false},
		{&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, "lookup: no such host", false},
		{&net.DNSError{IsTimeout: true}, "lookup: timeout", false},
		{context.DeadlineExceeded, "timeout", false},
		{loadtest.ErrOpTimeout, "timeout", false},
		{context.Canceled, "canceled", false},
		{io.EOF, "EOF", false},
		{fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), "unexpected EOF", false},
		{net.ErrClosed, "connection closed", false},
		{loadtest.ErrGenerator, "generator", true},
		{errors.New("boom\nand a stack trace"), "boom", false},
		{errors.New(strings.Repeat("ä", 100)), strings.Repeat("ä", 40) + "…", false},
		{loadtest.ErrRefused, "refused by the server", false},
	} {
		require.Equal(t, test.want, loadtest.KindOf(test.err), "%v", test.err)
		_, generator := loadtest.ErrnoKind(test.err)
		require.Equal(t, test.generator, generator, "%v", test.err)
	}
}

func TestErrorsAreCountedByKind(t *testing.T) {
	s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
		switch {
		case op.N < 5:
			return false, fmt.Errorf("number %d: %w", op.N, kindErr{"b"})
		case op.N < 10:
			return false, kindErr{"a"}
		case op.N < 11:
			return false, kindErr{"c"}
		case op.N < 18:
			op.RecipientErr = kindErr{"recipient"}
		}
		return true, nil
	}}
	res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 20})
	require.NoError(t, err)
	check(t, s, res)
	require.EqualValues(t, 9, res.Accepted, "an operation is accepted though a recipient was refused")
	require.Len(t, res.Errors, 4)
	for i, want := range []loadtest.ErrorCount{{Kind: "recipient", Count: 7}, {Kind: "a", Count: 5}, {Kind: "b", Count: 5}, {Kind: "c", Count: 1}} {
		require.Equal(t, want.Kind, res.Errors[i].Kind)
		require.Equal(t, want.Count, res.Errors[i].Count)
	}
	require.EqualError(t, res.Errors[2].Example, "number 0: too many words about b", "the first one")
}

// A Session whose errors are all different must not cost memory without bound.
func TestErrorKindsAreBounded(t *testing.T) {
	s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
		return false, fmt.Errorf("%d: %w", op.N, loadtest.ErrRefused)
	}}
	res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 1000, Sessions: 4})
	require.NoError(t, err)
	require.Len(t, res.Errors, 65)
	require.Equal(t, "other", res.Errors[0].Kind)
	require.EqualValues(t, 1000-64, res.Errors[0].Count)
}
