// A filter of the AssemblyScript SDK: adds a header to responses, and answers one path by itself.

export * from "@solo-io/proxy-runtime/proxy";
import {
  Context, FilterHeadersStatusValues, GrpcStatusValues, HeaderPair, LogLevelValues, RootContext,
  log, registerRootContext, send_local_response, stream_context,
} from "@solo-io/proxy-runtime";

class Root extends RootContext {
  createContext(context_id: u32): Context {
    return new Stream(context_id, this);
  }
}

class Stream extends Context {
  constructor(context_id: u32, root_context: Root) {
    super(context_id, root_context);
  }

  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const path = stream_context.headers.request.get(":path");
    log(LogLevelValues.info, "path " + path + " of " + count.toString() + " headers");
    if (path == "/hello") {
      const body = String.UTF8.encode("Hello, World!\n");
      const headers = new Array<HeaderPair>(0);
      send_local_response(200, "by_the_guest", body, headers, GrpcStatusValues.Ok);
      return FilterHeadersStatusValues.StopIteration;
    }
    stream_context.headers.request.add("x-added", "1");
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    stream_context.headers.response.add("hello", "world");
    return FilterHeadersStatusValues.Continue;
  }

  onLog(): void {
    log(LogLevelValues.warn, "completed");
  }
}

registerRootContext((context_id: u32) => { return new Root(context_id); }, "add_header");
