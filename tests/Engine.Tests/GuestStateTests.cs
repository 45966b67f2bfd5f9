// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Points;
using Tidemark.Engine.Runs;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>
/// A real guest that powers off or reboots by itself in the middle of its backup. libvirt handles the news of all machines in one queue,
/// and then waits there for up to 30 s for the agent: the end of the run may come late, and must come right.
/// </summary>
public sealed class GuestStateTests(LabFixture fixture)
{
    private static CancellationToken Token => EngineLab.Token;

    [Fact]
    public async Task GuestPowersOff_TheRunFailsOrFinishes_AndTheNextOneIsExact()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var guest = await EngineGuest.StartAsync(lab, "powersoff");
        await guest.BackUpAsync();
        await guest.WorkAsync(5);
        await DoAtConnectedAsync(lab, guest, "poweroff", mayFail: true);
        await WaitUntilOffAsync(guest);
        OfflineLab.AssertNothingLeft(lab);
        await AssertOfflineAsync(lab, guest);
    }

    [Fact]
    public async Task GuestReboots_TheRunFinishes_AndTheNextOnesAreExact()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var guest = await EngineGuest.StartAsync(lab, "reboots", comesBack: true);
        await guest.BackUpAsync();
        await guest.WorkAsync(5);
        var point = await DoAtConnectedAsync(lab, guest, "reboot", mayFail: false);
        Assert.Equal(("incremental", "filesystem"), (point!.Disks[0].Mode, point.Consistency));
        OfflineLab.AssertNothingLeft(lab);
        await guest.WorkAsync(10); // it boots, mounts its disk and goes on
        Assert.Equal("incremental", (await guest.BackUpAsync()).Disks[0].Mode);
        await guest.Domain.DestroyAsync(Token);
        await AssertOfflineAsync(lab, guest);
    }

    private static async Task<PointInfo?> DoAtConnectedAsync(EngineLab lab, EngineGuest guest, string command, bool mayFail)
    {
        lab.AtStep = step =>
        {
            if (step == RunStep.Connected)
                guest.Commands.StartAsync("/bin/busybox", [command, "-f"], Token).GetAwaiter().GetResult();
        };
        try
        {
            return await guest.BackUpAsync();
        }
        catch (EngineException) when (mayFail)
        {
            return null;
        }
        finally
        {
            lab.AtStep = _ => { };
        }
    }

    private static async Task WaitUntilOffAsync(EngineGuest guest)
    {
        for (var begun = TimeProvider.System.GetTimestamp(); (await guest.Domain.GetStatusAsync(Token)).IsActive;)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(begun) < EngineGuest.Limit, "The guest did not power off.");
            await Task.Delay(200, Token);
        }
    }

    // Exact against the image itself: so was the point before, of which it inherits, and the bitmap between them.
    private static async Task AssertOfflineAsync(EngineLab lab, EngineGuest guest)
    {
        var point = await guest.BackUpAsync();
        Assert.Equal(("incremental", "offline"), (point.Disks[0].Mode, point.Consistency));
        var truth = lab.PathOf("truth.raw");
        var image = Path.Combine(lab.Host.Folder, $"{guest.Domain.Name}.qcow2");
        await Tool.RunAsync("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", image, truth], Token);
        await lab.AssertRestoresAsync(
            point, new Dictionary<string, byte[]> { [point.Disks[0].Name] = await File.ReadAllBytesAsync(truth, Token) });
        OfflineLab.AssertNothingLeft(lab);
    }
}
