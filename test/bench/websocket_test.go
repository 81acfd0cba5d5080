package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// request asks for the newest slots.
func request(slots int) string {
	return fmt.Sprintf(`{"cmd":"show_account","args":{"nr_slot":%d}}`, slots)
}

// helloRole is the floor of a websocket server: it reads a message and writes the same answer to all. Arguments: the answer's
// file, and whether to compress.
func helloRole(args []string) error {
	answer, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	upgrader := websocket.Upgrader{EnableCompression: args[1] == "true", WriteBufferPool: &sync.Pool{}}
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, answer)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			if err := ws.WritePreparedMessage(message); err != nil {
				return
			}
		}
	})}
	go func() { fail(server.Serve(listener)) }()
	fmt.Printf("%s\nready\n", listener.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// hello starts such a server.
func (b *bench) hello(answer string, compress bool) (addr string, pid int) {
	b.t.Helper()
	b.roots++
	self, err := os.Executable()
	b.must(err)
	p, lines := b.startAs("hello", self, b.file("answer"+strconv.Itoa(b.roots), answer), strconv.FormatBool(compress))
	return lines[0], p.pid()
}

// load starts clients that poll a server.
func (b *bench) load(addr string, clients int, compress bool, request string) *process {
	b.t.Helper()
	p, refused := b.tryLoad(addr, clients, compress, request)
	if refused != "" {
		b.t.Fatal(refused)
	}
	return p
}

// tryLoad does the same with a server that may not take so many; then refused says why.
func (b *bench) tryLoad(addr string, clients int, compress bool, request string) (p *process, refused string) {
	b.t.Helper()
	self, err := os.Executable()
	b.must(err)
	p, lines := b.startAs("clients", self, addr, strconv.Itoa(clients), strconv.FormatBool(compress), request)
	return p, strings.Join(lines, "; ")
}

// client is one bare websocket client: it sends a prepared frame and throws away what comes back.
type client struct {
	conn  *net.TCPConn
	in    *bufio.Reader
	frame []byte
}

// clientsRole polls a server with many clients, each once a second, spread over the second. Arguments: address, number, whether
// to offer compression, request. Commands: "run SECONDS" answers with the median latency, the one of 99 %, and the answers.
func clientsRole(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	clients := make([]*client, n)
	for i := range clients {
		if clients[i], err = dialWebsocket(args[0], args[2] == "true", args[3]); err != nil {
			fmt.Printf("client %d: %v\n", i, err)
			break
		}
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var seconds int
		if _, err := fmt.Sscanf(in.Text(), "run %d", &seconds); err != nil {
			return err
		}
		latencies, err := poll(clients, seconds)
		if err != nil {
			return err
		}
		fmt.Println(int64(quantile(latencies, 0.5)), int64(quantile(latencies, 0.99)), len(latencies))
	}
	return nil
}

func poll(clients []*client, seconds int) (latencies []time.Duration, err error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	begin := time.Now()
	end := begin.Add(time.Duration(seconds) * time.Second)
	for i, c := range clients {
		group.Go(func() {
			var mine []time.Duration
			// Who is late skips: a server that cannot keep up shows by the answers that are missing.
			for at := begin.Add(time.Duration(i) * time.Second / time.Duration(len(clients))); at.Before(end); at = at.Add(time.Second) {
				wait := time.Until(at)
				if wait < -time.Second {
					continue
				}
				time.Sleep(wait)
				asked := time.Now()
				if err := c.ask(); err != nil {
					failed.Store(&err)
					return
				}
				mine = append(mine, time.Since(asked))
			}
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, mine...)
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return latencies, nil
}

func dialWebsocket(addr string, compress bool, request string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	offer := ""
	if compress {
		offer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", addr, offer)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn.(*net.TCPConn), in: bufio.NewReaderSize(conn, 4096)}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, errors.New(response.Status)
	}
	if compress && !strings.Contains(response.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		return nil, errNoCompression
	}
	// A text frame, masked with zeros (RFC 6455, 5.2).
	c.frame = []byte{0x81, 0x80 | 126, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(c.frame[2:], uint16(len(request)))
	if len(request) < 126 {
		c.frame = []byte{0x81, 0x80 | byte(len(request)), 0, 0, 0, 0}
	}
	c.frame = append(c.frame, request...)
	return c, nil
}

var errNoCompression = errors.New("the server does not compress")

// ask sends the request and reads the whole answer.
func (c *client) ask() error {
	if err := c.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.frame); err != nil {
		return err
	}
	for {
		opcode, final, err := c.skipFrame()
		if err != nil {
			return err
		}
		switch {
		case opcode == websocket.CloseMessage:
			return errors.New("the server closed")
		case opcode == websocket.PingMessage:
			continue
		case final:
			return nil
		}
	}
}

func (c *client) skipFrame() (opcode int, final bool, err error) {
	var head [10]byte
	if _, err := io.ReadFull(c.in, head[:2]); err != nil {
		return 0, false, err
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		_, err = io.ReadFull(c.in, head[2:4])
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		_, err = io.ReadFull(c.in, head[2:10])
		length = binary.BigEndian.Uint64(head[2:])
	}
	if err == nil {
		_, err = io.CopyN(discard{}, c.in, int64(length))
	}
	return int(head[0] & 0x0f), head[0]&0x80 != 0, err
}

// discard throws away with large buffers: the clients share the machine with the server.
type discard struct{}

var garbage = sync.Pool{New: func() any { return new([256 << 10]byte) }}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func (discard) ReadFrom(r io.Reader) (total int64, err error) {
	buf := garbage.Get().(*[256 << 10]byte)
	defer garbage.Put(buf)
	for err == nil {
		var n int
		n, err = r.Read(buf[:])
		total += int64(n)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return total, err
}

// answer asks the daemon once.
func (d *daemon) answer(request string) string {
	d.t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+d.addr, nil)
	d.b.must(err)
	defer ws.Close()
	d.b.must(ws.WriteMessage(websocket.TextMessage, []byte(request)))
	_, data, err := ws.ReadMessage()
	d.b.must(err)
	return string(data)
}

// contest is a server under load and what it cost, CPU per answer by round.
type contest struct {
	pid     int
	clients *process
	idle    time.Duration // CPU per second that it uses without clients
	cost    []time.Duration
	p50     []time.Duration
	p99     []time.Duration
	answers int
}

// polled lets each server's clients poll for some seconds, in turn, in every round.
func (b *bench) polled(rounds, seconds int, servers ...*contest) {
	b.t.Helper()
	for range rounds {
		for _, s := range servers {
			before := b.cpuTime(s.pid)
			w := s.clients.ask("run %d", seconds)
			used := b.less(b.cpuTime(s.pid)-before, time.Duration(seconds)*s.idle)
			if w.count == 0 {
				b.t.Fatal("no answers")
			}
			s.answers += w.count
			s.cost = append(s.cost, used/time.Duration(w.count))
			s.p50, s.p99 = append(s.p50, w.cpu), append(s.p99, w.wall)
		}
	}
}

// idleCost is the CPU time that a process uses in a second by itself.
func (b *bench) idleCost(pid, seconds int) time.Duration {
	b.t.Helper()
	var costs []time.Duration
	for range seconds {
		before := b.cpuTime(pid)
		time.Sleep(time.Second)
		costs = append(costs, b.cpuTime(pid)-before)
	}
	return median(costs)
}

func showAccountRow(b *bench) {
	paths := flat(b.small)
	d := b.daemon(document(paths, someShare, "cpu", "blkio"), nil)
	d.sampled(b.warm)
	ask := request(2)
	answer := d.answer(ask)
	b.versusHello(d, "show_account nr_slot 2, %d cgroups, %d clients each second", len(paths), ask, answer)
}

func (b *bench) versusHello(d *daemon, format string, cgroups int, ask, answer string) {
	b.t.Helper()
	helloAddr, helloPid := b.hello("hello", false)
	sameAddr, samePid := b.hello(answer, false)
	hello := &contest{pid: helloPid, clients: b.load(helloAddr, b.size.clients, false, ask)}
	same := &contest{pid: samePid, clients: b.load(sameAddr, b.size.clients, false, ask)}
	ours := &contest{pid: d.pid(), idle: b.idleCost(d.pid(), min(5, b.seconds)), clients: b.load(d.addr, b.size.clients, false, ask)}
	b.polled(max(2, b.rounds/3), min(3, b.seconds), hello, same, ours)
	note := fmt.Sprintf("%d bytes; sampling taken off; p50/p99 %v/%v, floor %v/%v", len(answer), round(median(ours.p50)), round(median(ours.p99)),
		round(median(hello.p50)), round(median(hello.p99)))
	measure := fmt.Sprintf(format, cgroups, b.size.clients)
	b.report(result{measure: measure, unit: "µs", against: "websocket hello", floor: µs(median(hello.cost)), ours: µs(median(ours.cost)), goal: 1.4, note: note})
	b.report(result{measure: "- the same bytes", unit: "µs", against: "websocket, same bytes", floor: µs(median(same.cost)), ours: µs(median(ours.cost)), no: true,
		note: fmt.Sprintf("p50/p99 of the floor %v/%v", round(median(same.p50)), round(median(same.p99)))})
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// compressionRow: as many clients as are worth having, with compression.
func compressionRow(b *bench) {
	measure := fmt.Sprintf("stretch: answers of %d clients with compression", b.many)
	paths := flat(b.small)
	d := b.daemon(document(paths, someShare, "cpu", "blkio"), nil)
	d.sampled(b.warm)
	ask := request(2)
	ours := &contest{pid: d.pid(), idle: b.idleCost(d.pid(), min(3, b.seconds))}
	var refused string
	if ours.clients, refused = b.tryLoad(d.addr, b.many, true, ask); refused != "" {
		b.skip(measure, refused)
		return
	}
	helloAddr, helloPid := b.hello("hello", true)
	hello := &contest{pid: helloPid, clients: b.load(helloAddr, b.many, true, ask)}
	b.polled(max(2, b.rounds/5), min(5, b.seconds), hello, ours)
	b.report(result{
		measure: measure, against: "websocket hello", floor: float64(hello.answers), ours: float64(ours.answers), goal: 0.98, atLeast: true,
		note: fmt.Sprintf("CPU per answer %s µs, floor %s µs", number(µs(median(ours.cost))), number(µs(median(hello.cost)))),
	})
}

// oneCgroupRow: the history of one cgroup.
func oneCgroupRow(b *bench) {
	paths := flat(b.small)
	d := b.daemon(document(paths, someShare, "cpu", "blkio"), nil)
	d.sampled(b.slots)
	ask := fmt.Sprintf(`{"cmd":"show_account","args":{"nr_slot":%d,"subsystem":"cpu","cgroup":%q}}`, b.slots, paths[len(paths)/2])
	s := &contest{pid: d.pid(), idle: b.idleCost(d.pid(), min(5, b.seconds)), clients: b.load(d.addr, min(20, b.size.clients), false, ask)}
	b.polled(max(2, b.rounds/3), min(3, b.seconds), s)
	note := fmt.Sprintf("%d slots, %d bytes, p50 %v", b.slots, len(d.answer(ask)), round(median(slices.Clone(s.p50))))
	if b.slots < 300 {
		note += "; short form, the goal is for the 300 of -long"
	}
	b.report(result{measure: "stretch: one cgroup's slots, server CPU", unit: "µs", ours: µs(median(s.cost)), goal: 1000, no: b.slots < 300, note: note})
}
