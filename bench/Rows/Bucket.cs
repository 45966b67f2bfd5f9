// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using Tidemark.Lab;
using Tidemark.Libvirt;

namespace Tidemark.Bench.Rows;

/// <summary>
/// A bucket of a real Ceph on this machine as repository: requests of a backup, time against restic to the same bucket, and a restore
/// against a plain download of the same objects followed by a restore from where they were put.
/// </summary>
internal static class Bucket
{
    private const string Name = "bench";
    private const int Mebi = 1 << 20;
    private const int DownloadsAtOnce = 8;
    private const long OsdBytes = 20L << 30;

    public static async Task RunAsync(Bench bench)
    {
        await using var ceph = await CephCluster.StartAsync(OsdBytes, bench.Token);
        using var admin = Client(ceph.Endpoint);
        await admin.PutBucketAsync(new PutBucketRequest { BucketName = Name }, bench.Token);
        var image = await bench.CopyAsync(await bench.UsrImageAsync(), "bucket.qcow2");
        var machine = await bench.MachineAsync("bucket", image);
        await BackUpAsync(bench, ceph, machine, image);
        await RestoreAsync(bench, ceph, machine);
        await machine.StopAsync(bench.Token);
    }

    /// <summary>Counts, not times: 10 GiB that compress to half, then 64 MiB of change.</summary>
    public static async Task RequestsAsync(Bench bench)
    {
        await using var ceph = await CephCluster.StartAsync(OsdBytes, bench.Token);
        using var admin = Client(ceph.Endpoint);
        await admin.PutBucketAsync(new PutBucketRequest { BucketName = Name }, bench.Token);
        var machine = await LabMachine.DefineAsync(bench.Host, "requests", new LabDisk("vda", 10L << 30));
        var random = new Random(1);
        var half = new byte[64 * Mebi];
        for (var part = 0; part < 160; part++)
        {
            for (var chunk = 0; chunk < half.Length; chunk += 256 << 10)
                random.NextBytes(half.AsSpan(chunk, 128 << 10));
            await machine.WriteBytesAsync("vda", (long)part * half.Length, half, bench.Token);
        }

        await InitAsync(bench, ceph, "requests");
        var full = await TidemarkAsync(bench, ceph, "requests", "cache", "backup", "requests", "--json");
        Add(bench, "PUT requests of a full backup of 10 GiB at 2:1 to a bucket", 100, full);
        bench.Results.AddMemory("full backup of 10 GiB at 2:1 to a bucket", full);
        random.NextBytes(half);
        await machine.WriteBytesAsync("vda", 3L << 30, half, bench.Token);
        var next = await TidemarkAsync(bench, ceph, "requests", "cache", "backup", "requests", "--json");
        Add(bench, "PUT requests of an incremental backup of 64 MiB to a bucket", 12, next);
        await machine.StopAsync(bench.Token);
    }

    /// <summary>Gets every object below a prefix, several at once, and lays them as a folder's store has them.</summary>
    public static async Task ClientAsync(string endpoint, string prefix, string folder, CancellationToken cancellationToken)
    {
        using var client = Client(endpoint);
        var found = new List<S3Object>();
        for (string? next = null; ;)
        {
            var page = await client.ListObjectsV2Async(
                new ListObjectsV2Request { BucketName = Name, Prefix = prefix + "/", ContinuationToken = next }, cancellationToken);
            found.AddRange(page.S3Objects ?? []);
            if (page.IsTruncated != true)
                break;
            next = page.NextContinuationToken;
        }

        var options = new ParallelOptions { MaxDegreeOfParallelism = DownloadsAtOnce, CancellationToken = cancellationToken };
        await Parallel.ForEachAsync(found, options, async (source, token) =>
        {
            var path = Path.Combine(folder, FolderPath(source.Key[(prefix.Length + 1)..]));
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            await using var file = File.Create(path);
            if (source.Size == 0)
                return; // such a range of nothing is refused
            // With a range the SDK does not hash what it gets: as plain as it can be.
            var request = new GetObjectRequest { BucketName = Name, Key = source.Key, ByteRange = new ByteRange("bytes=0-") };
            using var response = await client.GetObjectAsync(request, token);
            await response.ResponseStream.CopyToAsync(file, token);
        });
    }

    private static async Task BackUpAsync(Bench bench, CephCluster ceph, LabMachine machine, string image)
    {
        var pairs = new List<(Measured Ours, Measured Theirs)>();
        for (var run = 0; run < bench.Runs; run++)
        {
            foreach (var name in await machine.Domain.ListCheckpointsAsync(bench.Token))
                await machine.Domain.DeleteCheckpointAsync(name, CheckpointDeleteFlags.None, bench.Token);
            await InitAsync(bench, ceph, $"run{run}");
            var ours = await TidemarkAsync(bench, ceph, $"run{run}", $"cache{run}", "backup", machine.Name, "--json");
            bench.Results.AddMemory("full backup to a bucket, 10 GiB disk", ours);
            pairs.Add((ours, await ResticAsync(bench, ceph, image, run)));
        }

        bench.Results.AddRatio("backup to a bucket / `restic backup --stdin` to the same bucket", 0.5, pairs);
    }

    private static async Task RestoreAsync(Bench bench, CephCluster ceph, LabMachine machine)
    {
        var pairs = new List<(Measured Ours, Measured Theirs)>();
        for (var run = 0; run < bench.Runs; run++)
        {
            var ours = await TidemarkAsync(
                bench, ceph, "run0", $"cache-restore{run}", "restore", $"{machine.Name}@latest", "--format", "raw", "--to",
                bench.Folder("restored"));
            bench.Results.AddMemory("restore from a bucket, 10 GiB disk", ours);
            Directory.Delete(bench.PathOf("restored"), recursive: true);
            var download = await bench.ClientAsync("client-download", ceph.Endpoint, "run0", bench.Folder("downloaded"));
            var restore = await bench.TidemarkAsync(
                "downloaded", "restore", $"{machine.Name}@latest", "--format", "raw", "--to", bench.Folder("restored"));
            Directory.Delete(bench.PathOf("restored"), recursive: true);
            bench.Results.Note($"Restore from a bucket, run {run}: {ours.Wall:0.0} s; download {download.Wall:0.0} s, then from a folder "
                + $"{restore.Wall:0.0} s.");
            pairs.Add((ours, download with { Wall = download.Wall + restore.Wall, Cpu = download.Cpu + restore.Cpu }));
        }

        bench.Results.AddRatio("restore from a bucket / download of the same objects and restore from a folder", 1.2, pairs);
    }

    private static void Add(Bench bench, string work, double limit, Measured run)
    {
        using var document = JsonDocument.Parse(run.Output);
        var requests = document.RootElement.GetProperty("requests");
        var puts = requests.GetProperty("put").GetInt64();
        var detail = $"get {requests.GetProperty("get")}, head {requests.GetProperty("head")}, list {requests.GetProperty("list")}; "
            + $"{requests.GetProperty("bytesSent").GetInt64() / 1e6:0} MB sent in {run.Wall:0.0} s";
        bench.Results.Add(new Result(work, limit, puts, puts, "", detail));
    }

    private static Task<Measured> InitAsync(Bench bench, CephCluster ceph, string prefix)
    {
        bench.Folder("scratch");
        Directory.CreateDirectory(bench.PathOf("state"));
        return TidemarkAsync(bench, ceph, prefix, "cache", "init");
    }

    private static Task<Measured> TidemarkAsync(Bench bench, CephCluster ceph, string prefix, string cache, params string[] command) =>
        WithKeys(bench, ceph)
            .With("TIDEMARK_REPO", $"s3://{Name}/{prefix}")
            .With("TIDEMARK_CACHE", bench.PathOf(cache))
            .With("TIDEMARK_KEY_FILE", bench.PathOf("key"))
            .With("TIDEMARK_CONNECT", bench.Host.Uri)
            .With("TIDEMARK_STATE", bench.PathOf("state"))
            .With("TIDEMARK_SCRATCH", bench.PathOf("scratch"))
            .RunAsync("artifacts/tidemark/tidemark", command);

    private static Task<Measured> ResticAsync(Bench bench, CephCluster ceph, string image, int run)
    {
        var feed = $"nbdcopy -- [ qemu-nbd -r --image-opts 'driver=qcow2,force-share=on,file.driver=file,file.filename={image}' ] -";
        return WithKeys(bench, ceph)
            .With("RESTIC_REPOSITORY", $"s3:{ceph.Endpoint}/{Name}/restic{run}")
            .With("RESTIC_PASSWORD", "measured")
            .With("RESTIC_CACHE_DIR", bench.PathOf("restic-cache"))
            .RunAsync("bash", "-ec", $"set -o pipefail; restic -q init; {feed} | restic -q backup --stdin --stdin-filename disk.raw");
    }

    private static Command WithKeys(Bench bench, CephCluster ceph) => bench.Command()
        .With("AWS_ENDPOINT_URL", ceph.Endpoint)
        .With("AWS_ACCESS_KEY_ID", CephCluster.AccessKey)
        .With("AWS_SECRET_ACCESS_KEY", CephCluster.SecretKey)
        .With("AWS_CA_BUNDLE", "");

    // The fan-out of docs/format.md section 3.
    private static string FolderPath(string key)
    {
        var name = key.LastIndexOf('/') + 1;
        return key.StartsWith("packs/", StringComparison.Ordinal) ? $"{key[..name]}{key.Substring(name + 2, 2)}/{key[name..]}" : key;
    }

    private static AmazonS3Client Client(string endpoint) => new(
        new BasicAWSCredentials(CephCluster.AccessKey, CephCluster.SecretKey),
        new AmazonS3Config
        {
            ServiceURL = endpoint,
            ForcePathStyle = true,
            AuthenticationRegion = "us-east-1",
            RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
            ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED,
        });
}
