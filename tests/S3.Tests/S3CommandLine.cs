// SPDX-License-Identifier: Apache-2.0
using Tidemark.Cli.Tests;
using Tidemark.Lab;

namespace Tidemark.S3.Tests;

/// <summary>The real command with a bucket of its own as repository, and a paused machine whose disk it backs up.</summary>
internal sealed class S3CommandLine : IDisposable
{
    private const int Mebi = 1 << 20;

    private S3CommandLine(CommandLine command, string bucket, LabMachine machine, Random random) =>
        (Command, Bucket, Machine, Random) = (command, bucket, machine, random);

    public CommandLine Command { get; }

    public string Bucket { get; }

    public LabMachine Machine { get; }

    public Random Random { get; }

    public string Cache => Path.Combine(Command.Root, "cache");

    private static CancellationToken Token => CommandLine.Token;

    /// <param name="fixture">The Ceph.</param>
    /// <param name="lab">The libvirt host.</param>
    /// <param name="mebibytes">What the disk holds, of bytes that do not compress.</param>
    /// <param name="init">Whether the repository is made.</param>
    public static async Task<S3CommandLine> CreateAsync(CephFixture fixture, LabFixture lab, int mebibytes, bool init = true)
    {
        var bucket = await fixture.NewBucketAsync();
        var command = new CommandLine(lab.Host);
        command.Environment["TIDEMARK_REPO"] = $"s3://{bucket}/some/where";
        command.Environment["TIDEMARK_CACHE"] = Path.Combine(command.Root, "cache");
        command.Environment["AWS_ENDPOINT_URL"] = fixture.Ceph.Endpoint;
        command.Environment["AWS_ACCESS_KEY_ID"] = CephCluster.AccessKey;
        command.Environment["AWS_SECRET_ACCESS_KEY"] = CephCluster.SecretKey;
        command.Environment["AWS_EC2_METADATA_DISABLED"] = "true";
        command.Environment["AWS_CA_BUNDLE"] = "";
        var machine = await LabMachine.DefineAsync(lab.Host, $"m{bucket[2..8]}", new LabDisk("vda", (long)(mebibytes + 16) * Mebi));
        var made = new S3CommandLine(command, bucket, machine, new Random(mebibytes));
        for (var at = 0; at < mebibytes; at += 16)
            await made.WriteAsync((long)at * Mebi, Math.Min(16, mebibytes - at) * Mebi);
        if (init)
            (await command.RunAsync("init")).AssertDone();
        return made;
    }

    /// <summary>Writes noise through QEMU, as a guest would.</summary>
    public async Task WriteAsync(long offset, int length)
    {
        var noise = new byte[length];
        Random.NextBytes(noise);
        await Machine.WriteBytesAsync("vda", offset, noise, Token);
    }

    /// <summary>Restores the newest point and compares every byte with the disk as it is now.</summary>
    public async Task AssertRestoresAsync(Func<Task>? meanwhile = null, params string[] more)
    {
        var target = Path.Combine(Command.Root, $"{Path.GetRandomFileName()}.img");
        (await Command.RunAsync(
            _ => meanwhile?.Invoke() ?? Task.CompletedTask,
            ["restore", $"{Machine.Name}@latest", "--disk", $"vda={target}", "--format", "raw", .. more])).AssertDone();
        var truth = Path.Combine(Command.Root, "truth.img");
        await Machine.CopyDiskAsync("vda", truth, Token);
        await Tool.RunAsync("cmp", [target, truth], Token);
        File.Delete(target);
        File.Delete(truth);
    }

    public async Task<int> PointsAsync() =>
        (await Command.RunAsync("list", "--json")).AssertDone().Json.GetProperty("points").GetArrayLength();

    public void Dispose() => Command.Dispose();
}
