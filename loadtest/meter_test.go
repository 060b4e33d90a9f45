package loadtest_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

type meter struct {
	server           *server
	beginErr, endErr error
	begun, ended     int
	hangs            bool
}

func (m *meter) Begin(ctx context.Context) (func(context.Context) (loadtest.Usage, error), error) {
	m.begun++
	m.server.note("begin")
	if m.beginErr != nil {
		return nil, m.beginErr
	}
	return func(ctx context.Context) (loadtest.Usage, error) {
		m.ended++
		m.server.note("end")
		if m.hangs {
			<-ctx.Done()
			return loadtest.Usage{}, ctx.Err()
		}
		if ctx.Err() != nil {
			return loadtest.Usage{}, ctx.Err()
		}
		return loadtest.Usage{CPU: time.Second, PeakRSS: 7, Warnings: []error{errThrottledCPU}}, m.endErr
	}, nil
}

var errThrottledCPU = errors.New("the server was throttled")

// noting returns a server that notes what happens to it.
func noting() *server {
	s := &server{}
	s.dial = func(ctx context.Context, n int64) error {
		s.note("dial")
		return nil
	}
	s.do = func(ctx context.Context, op *loadtest.Op) (bool, error) {
		s.note("op %d", op.N)
		return true, nil
	}
	s.onClose = func() { s.note("close") }
	return s
}

// What a run does, in which order.
func TestOrder(t *testing.T) {
	s := noting()
	m := &meter{server: s}
	res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 2, Warmup: 2, Meter: m})
	require.NoError(t, err)
	require.Equal(t, []string{"dial", "op 0", "op 1", "begin", "op 2", "op 3", "end", "close"}, s.log)
	require.Equal(t, time.Second, res.Usage.CPU)
	require.Equal(t, []error{errThrottledCPU}, res.Warnings)

	s = noting()
	m = &meter{server: s}
	res, err = loadtest.Run(t.Context(), s, loadtest.Config{Ops: 2, Warmup: 1, OpsPerSession: 1, Meter: m})
	require.NoError(t, err)
	require.Equal(t, []string{"dial", "op 0", "close", "begin", "dial", "op 1", "close", "dial", "op 2", "close", "end"}, s.log)
	require.EqualValues(t, 3, res.Dials)
	require.EqualValues(t, 2, res.Dial.Count(), "not of the warm-up")
}

func TestMeterCannotBegin(t *testing.T) {
	s := noting()
	m := &meter{server: s, beginErr: io.EOF}
	res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 2, Ops: 2, Meter: m})
	require.ErrorIs(t, err, io.EOF)
	require.EqualError(t, err, "loadtest: Meter: EOF")
	require.Zero(t, m.ended)
	require.Zero(t, res.Ops)
	require.Equal(t, []string{"dial", "dial", "begin", "close", "close"}, s.log)
}

func TestMeterCannotEnd(t *testing.T) {
	s := noting()
	m := &meter{server: s, endErr: io.EOF}
	res, err := loadtest.Run(t.Context(), s, loadtest.Config{Meter: m})
	require.NoError(t, err)
	require.Nil(t, res.Usage)
	require.Len(t, res.Warnings, 1)
	require.ErrorIs(t, res.Warnings[0], io.EOF)
}

func TestMeterHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := noting()
		m := &meter{server: s, hangs: true}
		begin := time.Now()
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Meter: m, OpTimeout: time.Second})
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(begin))
		require.ErrorIs(t, res.Warnings[0], context.DeadlineExceeded)
	})
}

func TestMeterEndsWhenCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := noting()
		s.do = func(ctx context.Context, op *loadtest.Op) (bool, error) { return true, wait(ctx, time.Second) }
		m := &meter{server: s}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		res, err := loadtest.Run(ctx, s, loadtest.Config{Ops: 100, Meter: m})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotNil(t, res.Usage)
		check(t, s, res)
	})
}
