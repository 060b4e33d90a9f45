package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go/log"
)

// testcontainers' default logger writes to stderr, where go test puts it into
// the middle of a benchmark's result line, which benchstat then drops. Most
// messages follow the logger of the container, but those about the connection to
// Docker, about its reaper and about files only know the default. So in a test
// they are dropped, unless somebody has set another default. It is done
// here, as the default may not be changed while it is in use.
func init() {
	if l, ok := log.Default().(*stdlog.Logger); ok && testing.Testing() && l.Writer() == os.Stderr {
		log.SetDefault(log.NewNoopLogger())
	}
}

// tbLog is the log of testcontainers for one test. For a benchmark, whose
// output is shown even if all went well, it is kept until the benchmark failed.
type tbLog struct {
	tb testing.TB

	mu   sync.Mutex // guards the rest
	kept *tail      // nil: messages go to tb as they come
	over bool       // tb may not be used any more
}

func newTBLog(tb testing.TB) *tbLog {
	l := &tbLog{tb: tb}
	if _, ok := tb.(*testing.B); ok {
		l.kept = &tail{}
	}
	return l
}

func (l *tbLog) Printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over:
	case l.kept != nil:
		fmt.Fprintf(l.kept, strings.TrimSuffix(format, "\n")+"\n", args...)
	default:
		l.tb.Helper()
		l.tb.Logf(format, args...)
	}
}

// end prints what was kept, if the test has failed, and is the last to use tb.
func (l *tbLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tb.Helper()
	if l.kept != nil && l.tb.Failed() {
		l.tb.Logf("containers: what testcontainers did:\n%s", l.kept)
	}
	l.over = true
}

// tail keeps the end of what is written to it.
type tail struct {
	buf bytes.Buffer
	cut bool
}

// tailSize is for some hundred lines.
const tailSize = 32 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - 2*tailSize; over > 0 {
		t.buf.Next(over + tailSize)
		t.cut = true
	}
	return len(p), nil
}

// String returns whole lines.
func (t *tail) String() string {
	b := t.buf.Bytes()
	if over := len(b) - tailSize; over > 0 {
		b = b[over:]
	} else if !t.cut {
		return strings.TrimRight(string(b), "\r\n")
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[i+1:]
	}
	return strings.TrimRight(string(b), "\r\n")
}

// logLines is how much of a server's log is shown where something went wrong.
const logLines = 50

// logTail returns the last lines of what a container has written, or says why
// it cannot.
func (d *docker) logTail(ctx context.Context, id string, lines int) string {
	text, err := d.readLog(ctx, id, lines)
	switch {
	case err != nil:
		return fmt.Sprintf("(it cannot be read: %v)", err)
	case text == "":
		return "(empty)"
	}
	return text
}

func (d *docker) readLog(ctx context.Context, id string, lines int) (string, error) {
	info, err := d.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return "", err
	}
	r, err := d.api.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lines)})
	if err != nil {
		return "", err
	}
	defer r.Close()
	var t tail
	if info.Container.Config != nil && info.Container.Config.Tty {
		_, err = t.buf.ReadFrom(r)
	} else {
		_, err = stdcopy.StdCopy(&t, &t, r)
	}
	// What could be read is worth more than why the rest could not.
	if text := t.String(); text != "" || err == nil {
		return text, nil
	}
	return "", errors.Join(err)
}
