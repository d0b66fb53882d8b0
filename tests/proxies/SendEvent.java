import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;

/** Posts a file twice with the JDK's client as it is: URL, file, then names and values of headers. */
class SendEvent {
    public static void main(String[] arguments) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .POST(HttpRequest.BodyPublishers.ofFile(Path.of(arguments[1])));
        for (int at = 2; at < arguments.length; at += 2) {
            request.header(arguments[at], arguments[at + 1]);
        }
        HttpClient client = HttpClient.newHttpClient();
        for (int times = 0; times < 2; times++) {
            HttpResponse<String> answer =
                client.send(request.build(), HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version());
        }
    }
}
