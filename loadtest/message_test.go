package loadtest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

func TestMessageCheck(t *testing.T) {
	to := []string{"b@x"}
	tests := []struct {
		name    string
		message *loadtest.Message
		want    string // in the error; "" means none
	}{
		{"good", &loadtest.Message{From: "a@x", To: to, Data: []byte("Subject: x\r\n\r\nx\r\n")}, ""},
		{"no data", &loadtest.Message{From: "a@x", To: to}, ""},
		{"null reverse-path", &loadtest.Message{To: to}, ""},
		{"no recipient", &loadtest.Message{From: "a@x"}, "message has no recipient: set To"},
		{"bare LF", &loadtest.Message{To: to, Data: []byte("a\r\nb\nc\r\n")}, "message: line 2: bare CR or LF"},
		{"bare CR", &loadtest.Message{To: to, Data: []byte("a\r\nb\rc\r\n")}, "message: line 2: bare CR or LF"},
		{"bad sender", &loadtest.Message{From: "a@x> SIZE=1", To: to}, `From "a@x> SIZE=1": bad address syntax`},
		{"command injection", &loadtest.Message{From: "a@x", To: []string{"b@x>\r\nRSET\r\nMAIL FROM:<"}}, "bad address syntax"},
		{"empty recipient", &loadtest.Message{From: "a@x", To: []string{""}}, `To "": bad address syntax`},
		{"injection by parameters", &loadtest.Message{From: "a@x", To: to, MailParams: "SIZE=1\r\nRSET"}, "MailParams"},
		{"injection by parameters of RCPT", &loadtest.Message{From: "a@x", To: to, RcptParams: "NOTIFY=NEVER\n"}, "RcptParams"},
	}
	for _, test := range tests {
		err := test.message.Check()
		if test.want == "" {
			assert.NoError(t, err, test.name)
			continue
		}
		if assert.Error(t, err, test.name) {
			assert.ErrorContains(t, err, test.want, test.name)
			assert.True(t, strings.HasPrefix(err.Error(), "smtp: message"), "%s: %v", test.name, err)
		}
		assert.Error(t, test.message.WithRecipients(test.message.To...).Check(), test.name)
	}
}

func TestMessageIsRefusedBeforeItIsSent(t *testing.T) {
	tests := []struct {
		name string
		fn   func(int64) *loadtest.Message
		want string
	}{
		{"none", func(int64) *loadtest.Message { return nil }, "smtp: no message for operation 7: the function in SMTP.Message returned nil"},
		{"bare LF", message(&loadtest.Message{To: []string{"b@x"}, Data: []byte("a\n")}), "line 1: bare CR or LF"},
		{"UTF-8 address", message(&loadtest.Message{To: []string{"ü@x"}}), "SMTPUTF8, which the server does not offer"},
	}
	for _, test := range tests {
		d := &loadtest.SMTP{Security: loadtest.Plaintext, Message: test.fn}
		wait := overPipe(d, greeting+quit)
		s, err := d.Dial(t.Context())
		require.NoError(t, err)
		err = s.Do(t.Context(), &loadtest.Op{N: 7})
		assert.ErrorContains(t, err, test.want, test.name)
		assert.Equal(t, "failed", class(err), test.name)
		require.NoError(t, s.Close())
		require.NoError(t, wait(), "nothing was sent but QUIT")
	}
}

func TestText(t *testing.T) {
	least := len(loadtest.Text("a@x", "b@x", 0).Data)
	require.Less(t, least, 100)
	for size := range 2000 {
		m := loadtest.Text("a@x", "b@x", size)
		switch {
		case size < least+2:
			require.Len(t, m.Data, least, "size %d: no room for a line", size)
		default:
			require.Len(t, m.Data, size)
		}
		require.NoError(t, m.Check())
		for line := range bytes.Lines(m.Data) {
			require.LessOrEqual(t, len(line), 81)
			require.NotEqual(t, byte('.'), line[0])
		}
	}
	assert.Len(t, loadtest.Text("a@x", "b@x", 10<<20).Data, 10<<20)
}

func TestFromFile(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ name, content, want, err string }{
		{"lf", "a\n.b\n", "a\r\n.b\r\n", ""},
		{"crlf", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n", ""},
		{"no end", "a\nb", "a\r\nb", ""},
		{"empty", "", "", ""},
		{"mixed", "a\r\nb\nc\r\n", "", "line 2: bare CR or LF"},
		{"cr", "a\rb\r", "", "line 1: bare CR or LF"},
	}
	for _, test := range tests {
		path := filepath.Join(dir, test.name)
		require.NoError(t, os.WriteFile(path, []byte(test.content), 0o600))
		m, err := loadtest.FromFile("a@x", "b@x", path)
		if test.err != "" {
			assert.ErrorContains(t, err, test.err)
			assert.ErrorContains(t, err, path)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, test.want, string(m.Data), test.name)
	}
	_, err := loadtest.FromFile("a@x", "b@x", filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = loadtest.Corpus("a@x", "b@x", dir)
	assert.ErrorContains(t, err, "bare CR or LF", "one bad file spoils the corpus: it is found before the run")
}

func TestCorpus(t *testing.T) {
	dir := t.TempDir()
	_, err := loadtest.Corpus("a@x", "b@x", dir)
	assert.ErrorContains(t, err, "no file in it")
	_, err = loadtest.Corpus("a@x", "b@x", filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.Mkdir(filepath.Join(dir, "b"), 0o700))
	for _, name := range []string{"c", "a", "b/2", "b/1"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o600))
	}
	next, err := loadtest.Corpus("a@x", "b@x", dir)
	require.NoError(t, err)
	for n, want := range []string{"a", "b/1", "b/2", "c", "a", "b/1"} {
		assert.Equal(t, want+"\r\n", string(next(int64(n)).Data))
	}
	assert.Same(t, next(0), next(4), "prepared once")
}

func TestNumberedRecipients(t *testing.T) {
	m := &loadtest.Message{From: "a@x", Data: []byte("x\r\n"), RcptParams: "NOTIFY=NEVER"}
	tests := []struct {
		template string
		r        int
		n        int64
		want     []string
	}{
		{"user+@x", 1, 0, []string{"user+0@x"}},
		{"user+@x", 0, 3, []string{"user+3@x"}},
		{"user@x", 3, 0, []string{"user0@x", "user1@x", "user2@x"}},
		{"user@x", 3, 1000, []string{"user3000@x", "user3001@x", "user3002@x"}},
		{"local", 1, 5, []string{"local5"}},
		{`"a b"@x`, 2, 1, []string{`"a b2"@x`, `"a b3"@x`}},
		{`"a@b"@x`, 1, 1, []string{`"a@b1"@x`}},
	}
	for _, test := range tests {
		got := loadtest.NumberedRecipients(m, test.template, test.r)(test.n)
		assert.Equal(t, test.want, got.To)
		assert.Equal(t, "a@x", got.From)
		assert.Equal(t, "NOTIFY=NEVER", got.RcptParams)
		assert.NoError(t, got.Check())
	}
}

func TestNumberedIDs(t *testing.T) {
	next := loadtest.NumberedIDs(&loadtest.Message{From: "a@x", To: []string{"b@x"}, Data: []byte("Subject: x\r\n\r\nx\r\n")}, "run1")
	for n := range int64(3) {
		m := next(n)
		assert.Equal(t, fmt.Sprintf("Message-ID: <%d.run1@localhost>\r\nSubject: x\r\n\r\nx\r\n", n), string(m.Data))
		assert.NoError(t, m.Check())
	}
}

// A message is prepared from many goroutines at once.
func TestMessageConcurrent(t *testing.T) {
	m := loadtest.Text("a@x", "b@x", 1000)
	var checks sync.WaitGroup
	for range 8 {
		checks.Go(func() { assert.NoError(t, m.Check()) })
		checks.Go(func() { assert.NoError(t, m.WithRecipients("c@x").Check()) })
	}
	checks.Wait()
}
