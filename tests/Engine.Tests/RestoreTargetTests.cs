// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.Engine.Points;
using Tidemark.Engine.Restore;
using Tidemark.Engine.Restore.Targets;
using Tidemark.Lab;
using Tidemark.Qemu;

namespace Tidemark.Engine.Tests;

/// <summary>Restores to every kind of target: exact, proved by reading back, and with nothing half-written when it cannot work.</summary>
public sealed class RestoreTargetTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task Qcow2File_IsExact()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (point, truth) = await BackUpAsync(lab, "toqcow2");
        var restored = (await lab.RestoreAsync(point, "qcow2"))["vda"];
        Assert.Equal("1.1", (await QemuImg.InfoAsync(ImageRef.File(restored, "qcow2"), EngineLab.Token)).Compat);
        Assert.Equal(truth, await ReadAsync(lab, restored, "qcow2"));
    }

    [Fact]
    public async Task NbdExportWithOldData_IsExact()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (point, truth) = await BackUpAsync(lab, "tonbd");
        var image = lab.PathOf("old.raw");
        await File.WriteAllBytesAsync(image, Enumerable.Repeat((byte)0xee, truth.Length + Mebi).ToArray(), EngineLab.Token);
        var socket = lab.PathOf("s");
        await using (var server = await QemuNbd.ServeAsync(
            new QemuNbdOptions { Image = ImageRef.File(image, "raw"), SocketPath = socket, ReadOnly = false }, EngineLab.Token))
        {
            var target = $"nbd+unix:///?socket={socket}";
            await RefusedAsync(lab, point, new RestoreDiskChoice("vda", target), force: false, "existing export");
            await RestoreAsync(lab, point, new RestoreDiskChoice("vda", target), force: true);
            await server.StopAsync();
        }

        var written = await File.ReadAllBytesAsync(image, EngineLab.Token);
        Assert.Equal(truth, written[..truth.Length]);
        // What lies behind the disk's end is not ours.
        Assert.All(written[truth.Length..], value => Assert.Equal(0xee, value));
    }

    [Fact]
    public async Task BlockDeviceWithOldData_IsExact()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var device = await LoopDevice.TryCreateAsync(lab.PathOf("device.img"), 20 * Mebi);
        Assert.SkipWhen(device is null, "no loop device can be made here: it needs root and /dev/loop-control");
        var (point, truth) = await BackUpAsync(lab, "toblock");
        await File.WriteAllBytesAsync(device!.Path, Enumerable.Repeat((byte)0xee, 20 * Mebi).ToArray(), EngineLab.Token);
        await RefusedAsync(lab, point, new RestoreDiskChoice("vda", device.Path), force: false, "block device");
        await RestoreAsync(lab, point, new RestoreDiskChoice("vda", device.Path), force: true);
        var written = await File.ReadAllBytesAsync(device.Path, EngineLab.Token);
        Assert.Equal(truth, written[..truth.Length]);
        Assert.All(written[truth.Length..], value => Assert.Equal(0xee, value));
    }

    [Fact]
    public async Task BlockDeviceThatIsTooSmall_IsRefused()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var device = await LoopDevice.TryCreateAsync(lab.PathOf("small.img"), Mebi);
        Assert.SkipWhen(device is null, "no loop device can be made here: it needs root and /dev/loop-control");
        var (point, _) = await BackUpAsync(lab, "tosmall");
        await RefusedAsync(lab, point, new RestoreDiskChoice("vda", device!.Path), force: true, $"has {Mebi} bytes");
    }

    [Fact]
    public async Task ExistingFile_StaysAsItIs_UnlessForced()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (point, truth) = await BackUpAsync(lab, "toexisting");
        var file = lab.PathOf("mine.img");
        await File.WriteAllTextAsync(file, "mine", EngineLab.Token);
        await RefusedAsync(lab, point, new RestoreDiskChoice("vda", file), force: false, "exists");
        Assert.Equal("mine", await File.ReadAllTextAsync(file, EngineLab.Token));
        await RestoreAsync(lab, point, new RestoreDiskChoice("vda", file), force: true);
        Assert.Equal(truth, await File.ReadAllBytesAsync(file, EngineLab.Token));
    }

    [Fact]
    public async Task TargetThatLosesAWrite_FailsTheProof_AndIsRemoved()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (point, _) = await BackUpAsync(lab, "tolossy");
        var path = lab.PathOf("lossy.img");
        var failure = await Assert.ThrowsAsync<EngineException>(() => RestoreRun.RestoreDiskAsync(
            lab.Repository, point, "vda", new LossyTarget(path, lostWrite: 5), _ => { }, EngineLab.Token));
        Assert.Contains("does not give back", failure.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(path));
        Assert.DoesNotContain(Directory.EnumerateFiles(lab.PathOf(".")), file => file.Contains("partial", StringComparison.Ordinal));
        await RestoreRun.RestoreDiskAsync(lab.Repository, point, "vda", new LossyTarget(path, lostWrite: -1), _ => { }, EngineLab.Token);
        Assert.True(File.Exists(path));
    }

    [Fact]
    public async Task FolderThatCannotBeWritten_IsOneClearError()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (point, _) = await BackUpAsync(lab, "tonowhere");
        await File.WriteAllTextAsync(lab.PathOf("file"), "", EngineLab.Token);
        await RefusedAsync(lab, point, new RestoreDiskChoice("vda", lab.PathOf("file/inside.img")), force: false, "cannot be created");
    }

    [Theory]
    [InlineData("vdz", "has no disk 'vdz'")]
    public async Task UnknownDisk_IsRefused(string disk, string expected)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var (point, _) = await BackUpAsync(lab, "tounknown");
        await RefusedAsync(lab, point, new RestoreDiskChoice(disk, lab.PathOf("x")), force: false, expected);
    }

    private async Task<(PointInfo Point, byte[] Truth)> BackUpAsync(EngineLab lab, string name)
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, name, new LabDisk("vda", 10 * Mebi + 512));
        var noise = new byte[3 * Mebi];
        new Random(5).NextBytes(noise);
        await machine.WriteBytesAsync("vda", 2 * Mebi, noise, EngineLab.Token);
        await machine.WriteAsync("vda", 10 * Mebi, 512, 0x42, EngineLab.Token);
        var point = await lab.BackUpAsync(machine);
        var truth = await machine.ReadDiskAsync("vda", EngineLab.Token);
        await machine.StopAsync(EngineLab.Token);
        return (point, truth);
    }

    private static Task<RestoreResult> RestoreAsync(EngineLab lab, PointInfo point, RestoreDiskChoice disk, bool force) =>
        RestoreRun.RunAsync(
            lab.Repository, null, point, new RestoreOptions { Disks = [disk], Format = "raw", Force = force }, _ => { }, EngineLab.Token);

    private static async Task RefusedAsync(EngineLab lab, PointInfo point, RestoreDiskChoice disk, bool force, string expected)
    {
        var failure = await Assert.ThrowsAsync<EngineException>(() => RestoreAsync(lab, point, disk, force));
        Assert.Contains(expected, failure.Message, StringComparison.Ordinal);
    }

    private static async Task<byte[]> ReadAsync(EngineLab lab, string image, string format)
    {
        var raw = lab.PathOf("read.raw");
        await QemuImg.ConvertAsync(ImageRef.File(image, format), ImageRef.File(raw, "raw"), EngineLab.Token);
        return await File.ReadAllBytesAsync(raw, EngineLab.Token);
    }

    // A raw file behind a disk that swallows one write, as a failing controller would.
    private sealed class LossyTarget(string path, int lostWrite) : RestoreTarget
    {
        private readonly RawFileTarget _file = new(path);

        public override string Display => _file.Display;

        public override bool StartsZero => _file.StartsZero;

        public override Task CheckAsync(long size, bool force, CancellationToken cancellationToken) =>
            _file.CheckAsync(size, force, cancellationToken);

        public override async Task<IBlockTarget> OpenAsync(long size, CancellationToken cancellationToken) =>
            new Swallowing(await _file.OpenAsync(size, cancellationToken), lostWrite);

        public override Task<IBlockSource> ReadBackAsync(CancellationToken cancellationToken) => _file.ReadBackAsync(cancellationToken);

        public override Task KeepAsync(CancellationToken cancellationToken) => _file.KeepAsync(cancellationToken);

        public override ValueTask DisposeAsync() => _file.DisposeAsync();

        private sealed class Swallowing(IBlockTarget target, int lostWrite) : IBlockTarget
        {
            private int _writes = -1;

            public long Size => target.Size;

            public ValueTask WriteAsync(long offset, ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken) =>
                Interlocked.Increment(ref _writes) == lostWrite
                    ? ValueTask.CompletedTask
                    : target.WriteAsync(offset, buffer, cancellationToken);

            public ValueTask ZeroAsync(ByteRange range, CancellationToken cancellationToken) => target.ZeroAsync(range, cancellationToken);

            public ValueTask FlushAsync(CancellationToken cancellationToken) => target.FlushAsync(cancellationToken);

            public ValueTask DisposeAsync() => target.DisposeAsync();
        }
    }
}
