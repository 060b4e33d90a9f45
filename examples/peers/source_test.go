package peers_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// find returns where a peer is. /usr/sbin, where Debian has it, is on few
// users' PATH, and what go install made on as few.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	dirs := []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", os.Getenv("GOBIN")}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, "go", "bin"))
	}
	for _, dir := range dirs {
		if path, err := exec.LookPath(filepath.Join(dir, name)); dir != "" && err == nil {
			return path, nil
		}
	}
	how := "apt-get install postfix"
	if name == goSource {
		how = "go install github.com/nabeken/go-smtp-source@latest"
	}
	return "", fmt.Errorf("%s is not installed: %s", name, how)
}

const (
	source   = "smtp-source"
	sink     = "smtp-sink"
	goSource = "go-smtp-source"
)

// need skips b unless the peers are installed, and notes why in the table.
func need(b *testing.B, names ...string) {
	b.Helper()
	for _, name := range names {
		if _, err := find(name); err != nil {
			goals.absent(err.Error())
			b.Skip(err)
		}
	}
}

func mustFind(tb testing.TB, name string) string {
	tb.Helper()
	path, err := find(name)
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// A load is what a client is asked to do.
type load struct {
	addr      string
	sessions  int
	messages  int
	reconnect bool // one connection per message
}

// runSource is smtp-source, or go-smtp-source, doing it. The envelope is ours,
// so that the octets are too.
func runSource(tb testing.TB, name string, l load) usage {
	tb.Helper()
	args := []string{"-s", strconv.Itoa(l.sessions), "-m", strconv.Itoa(l.messages), "-f", mailbox, "-t", mailbox}
	if name == source {
		args = append(args, "-M", hostname)
	}
	if !l.reconnect {
		args = append(args, "-d")
	}
	p := peer(tb, mustFind(tb, name), append(args, l.addr)...)
	return p.wait(tb)
}

// A sinkProcess is a running smtp-sink.
type sinkProcess struct {
	*process
	addr string
}

// startSink starts smtp-sink. With counting it writes how many messages it has
// for each message, which is no part of being a server.
func startSink(tb testing.TB, counting bool) *sinkProcess {
	tb.Helper()
	args := []string{"-m", "4000"} // sessions at once; 256 is its default
	if os.Geteuid() == 0 {
		args = append(args, "-u", "nobody") // it refuses to be root
	}
	if counting {
		args = append(args, "-c")
	}
	addr := freeAddr(tb)
	p := &sinkProcess{process: peer(tb, mustFind(tb, sink), append(args, addr, "1024")...), addr: addr}
	awaitGreeting(tb, addr)
	return p
}

// messages returns how many messages a counting sink has.
func (p *sinkProcess) messages(tb testing.TB) int {
	tb.Helper()
	out := p.output(tb)
	at := strings.LastIndex(out, "mesg=")
	if at < 0 {
		return 0
	}
	var n int
	if _, err := fmt.Sscanf(out[at:], "mesg=%d", &n); err != nil {
		tb.Fatalf("peers: smtp-sink -c: %v in %q", err, out[at:])
	}
	return n
}

// freeAddr returns an address where nobody listens: smtp-sink cannot choose one.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitGreeting asks again and again, as smtp-sink does not tell when it is
// ready.
func awaitGreeting(tb testing.TB, addr string) {
	tb.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := greeting(addr, deadline)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("peers: no greeting from %s: %v", addr, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func greeting(addr string, deadline time.Time) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "220") {
		err = fmt.Errorf("%q", line)
	}
	if err == nil {
		_, err = c.Write([]byte("QUIT\r\n"))
	}
	return err
}
